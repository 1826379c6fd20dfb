"""Documents of assets as typed values again, for the adapters that apply them.

Belongs here: reading a document into the model that it was written from. Not here: what a document holds
(documents.py), or models of one layer's adapter alone (layers/<layer>/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from homelab_platform.wire.json_types import Document

Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], document: Document) -> Model:
    """The typed value of `document`, which may be one that another version of the platform applied.

    Fields that the model does not know are left out; those that are absent have their defaults, as documents leave out
    what is not said. Raises pydantic.ValidationError if a field is missing that every document has.
    """
    return model.model_validate(document, extra="ignore")
