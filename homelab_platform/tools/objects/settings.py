"""A bucket's own settings: tags, lifecycle, versioning, encryption, policy.

Belongs here: what the S3 interface lets one read and set about a bucket as a whole, for every server. Not here: objects
(client.py), users and keys (access.py), or which settings a bucket should have (operations/adapters).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homelab_platform.tools.objects.errors import CredentialsRefused, NotFound, ObjectsError, ObjectsUnreachable

if TYPE_CHECKING:
    from minio import Minio
    from minio.lifecycleconfig import Rule

    from homelab_platform.tools.objects.access import Policy

NO_POLICY = "NoSuchBucketPolicy"


@dataclass(frozen=True, order=True)
class ExpiryRule:
    """A lifecycle rule for the objects under `prefix`, in days; None leaves that alone.

    `days` after it was written an object goes, `noncurrent` days after it was replaced or deleted an old version, and
    `uploads` days after its beginning an upload in parts that was never finished.
    """

    prefix: str
    days: int | None = None
    noncurrent: int | None = None
    uploads: int | None = None


class BucketSettings:
    """Reading and setting what a bucket says about itself; ObjectStore gives the client and the errors."""

    _client: Minio

    def _errors(self, bucket: str, key: str = "") -> AbstractContextManager[None]:
        raise NotImplementedError

    def bucket_tags(self, bucket: str) -> Mapping[str, str]:
        """The bucket's tags; empty when it has none."""
        with self._errors(bucket):
            return dict(self._client.get_bucket_tags(bucket) or {})

    def set_bucket_tags(self, bucket: str, tags: Mapping[str, str]) -> None:
        """Replace the bucket's tags; an empty mapping removes them."""
        from minio.commonconfig import Tags

        with self._errors(bucket):
            if not tags:
                self._client.delete_bucket_tags(bucket)
                return
            wanted = Tags.new_bucket_tags()
            wanted.update(tags)
            self._client.set_bucket_tags(bucket, wanted)

    def lifecycle(self, bucket: str) -> Sequence[ExpiryRule]:
        """The bucket's expiry rules that are enabled, sorted by prefix."""
        with self._errors(bucket):
            found = self._client.get_bucket_lifecycle(bucket)
        enabled = [] if found is None else [_expiry_rule(rule) for rule in found.rules if rule.status == "Enabled"]
        return sorted((rule for rule in enabled if rule is not None), key=_order)

    def set_lifecycle(self, bucket: str, rules: Iterable[ExpiryRule]) -> None:
        """Replace the bucket's lifecycle by these expiry rules; none removes it."""
        from minio.lifecycleconfig import LifecycleConfig

        made = [_lifecycle_rule(number, rule) for number, rule in enumerate(sorted(rules, key=_order))]
        with self._errors(bucket):
            if made:
                self._client.set_bucket_lifecycle(bucket, LifecycleConfig(made))
            else:
                self._client.delete_bucket_lifecycle(bucket)

    def versioning(self, bucket: str) -> bool:
        """Whether the bucket keeps old versions of objects."""
        with self._errors(bucket):
            return bool(self._client.get_bucket_versioning(bucket).status == "Enabled")

    def ever_versioned(self, bucket: str) -> bool:
        """Whether the bucket may hold old versions: versioning is on, or was. Not on a server that knows of none."""
        try:
            with self._errors(bucket):
                status = str(self._client.get_bucket_versioning(bucket).status)
        except (NotFound, CredentialsRefused, ObjectsUnreachable):
            raise
        except ObjectsError:
            return False  # rclone answers 501
        return status in {"Enabled", "Suspended"}

    def set_versioning(self, bucket: str, enabled: bool) -> None:
        """Switch versioning on, or suspend it."""
        from minio.commonconfig import ENABLED
        from minio.versioningconfig import SUSPENDED, VersioningConfig

        with self._errors(bucket):
            self._client.set_bucket_versioning(bucket, VersioningConfig(ENABLED if enabled else SUSPENDED))

    def encryption(self, bucket: str) -> bool:
        """Whether the server is to encrypt each new object of the bucket with its own key (SSE-S3)."""
        with self._errors(bucket):
            found = self._client.get_bucket_encryption(bucket)
        return found is not None and found.rule.sse_algorithm == "AES256"

    def set_encryption(self, bucket: str, enabled: bool) -> None:
        """Have the server encrypt each new object of the bucket (SSE-S3), or no longer. Old objects stay as they are.

        That a server accepts this does not show that it can: SeaweedFS without a key then fails each write.
        """
        from minio.sseconfig import Rule, SSEConfig

        with self._errors(bucket):
            if enabled:
                self._client.set_bucket_encryption(bucket, SSEConfig(Rule.new_sse_s3_rule()))
            else:
                self._client.delete_bucket_encryption(bucket)

    def policy(self, bucket: str) -> Policy | None:
        """The bucket's policy; None when it has none, and then only keys of the server reach it."""
        from minio.error import S3Error

        with self._errors(bucket):
            try:
                found: Policy = json.loads(self._client.get_bucket_policy(bucket))
            except S3Error as error:
                if error.code != NO_POLICY:
                    raise
                return None
        return found

    def set_policy(self, bucket: str, policy: Policy | None) -> None:
        """Replace the bucket's policy, or remove it."""
        from minio.error import S3Error

        with self._errors(bucket):
            if policy is not None:
                self._client.set_bucket_policy(bucket, json.dumps(policy))
                return
            try:
                self._client.delete_bucket_policy(bucket)
            except S3Error as error:
                if error.code != NO_POLICY:
                    raise


def _order(rule: ExpiryRule) -> tuple[str, int, int, int]:
    return (rule.prefix, rule.days or 0, rule.noncurrent or 0, rule.uploads or 0)


def _expiry_rule(rule: Rule) -> ExpiryRule | None:
    prefix = (rule.rule_filter.prefix if rule.rule_filter else "") or ""
    days = rule.expiration.days if rule.expiration else None
    old = rule.noncurrent_version_expiration
    uploads = rule.abort_incomplete_multipart_upload
    found = ExpiryRule(
        prefix,
        int(days) if days else None,
        int(old.noncurrent_days) if old and old.noncurrent_days else None,
        int(uploads.days_after_initiation) if uploads and uploads.days_after_initiation else None,
    )
    return found if found != ExpiryRule(prefix) else None


def _lifecycle_rule(number: int, rule: ExpiryRule) -> Rule:
    from minio.commonconfig import ENABLED, Filter
    from minio.lifecycleconfig import (
        AbortIncompleteMultipartUpload,
        Expiration,
        NoncurrentVersionExpiration,
    )
    from minio.lifecycleconfig import Rule as Made

    return Made(
        ENABLED,
        rule_filter=Filter(prefix=rule.prefix),
        rule_id=f"homelab-{number}",
        expiration=Expiration(days=rule.days) if rule.days else None,
        noncurrent_version_expiration=(
            NoncurrentVersionExpiration(noncurrent_days=rule.noncurrent) if rule.noncurrent else None
        ),
        abort_incomplete_multipart_upload=(
            AbortIncompleteMultipartUpload(days_after_initiation=rule.uploads) if rule.uploads else None
        ),
    )
