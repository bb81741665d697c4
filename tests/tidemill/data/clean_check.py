"""Whether the data of a project is what its last commit says, for tests to look at."""

from tidemill.data.repository.dvc_command import ignore_line, retry_while_locked
from tidemill.data.repository.git import git
from tidemill.data.repository.repository_setup import open_dvc
from tidemill.data.repository.revisions import POINTERS, repository
from tidemill.data.versioning.exclusive import PATIENCE
from tidemill.data.versioning.pending_reproduction import LOCK, is_committed
from tidemill.project import Project


def is_clean(project: Project) -> bool:
    """Return whether the data on disk matches the committed ``dvc.lock``, as do its inputs on disk."""
    root = repository(project)
    if not is_committed(root, LOCK) or git(root, "status", "--porcelain", "--", POINTERS):
        return False
    with open_dvc(root) as repo:
        return not retry_while_locked(root, repo.status, ignore_line, PATIENCE)
