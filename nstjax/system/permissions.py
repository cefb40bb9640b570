"""Who else can write to a folder, for files that are executed."""

import os
import stat
from pathlib import Path


def find_writable_by_others(folder: Path) -> str | None:
    """Return a phrase that names a folder by which others can replace what lies in a folder; None if there is none.

    These are the folder and all folders that it lies in, as far as they exist. The system's owner and a group that has
    only this user may write to them. Others may write to a folder such as /tmp, which lets nobody remove what belongs
    to another, if only it is not the folder itself.

    Args:
        folder: a path without links, as ``Path.resolve`` returns it.
    """
    if not hasattr(os, "getuid"):
        return None  # Windows, where a user's folders are the user's
    for path in (folder, *folder.parents):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if status.st_uid not in (0, os.getuid()):
            return f"{path} belongs to another user"
        is_shared = status.st_mode & stat.S_ISVTX and path != folder
        by_group = status.st_mode & stat.S_IWGRP and not _is_private(status.st_gid)
        if not is_shared and (by_group or status.st_mode & stat.S_IWOTH):
            return f"others can write to {path}"
    return None


def _is_private(group: int) -> bool:
    """Return whether a group is the system's, or has no other member than this user, as many systems give to each."""
    import grp
    import pwd

    if group == 0:
        return True
    try:
        user, members = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return (group, members.gr_name) == (user.pw_gid, user.pw_name) and {*members.gr_mem} <= {user.pw_name}
