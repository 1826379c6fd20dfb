"""`host/<name>`: machines over SSH, by Ansible or NixOS."""
