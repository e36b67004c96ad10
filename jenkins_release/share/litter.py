"""Files that operating systems and file servers leave in folders that people open.

Windows Explorer writes ``Thumbs.db`` and ``desktop.ini``, and copies of files that are dropped into their own
folder. macOS writes ``.DS_Store`` and a file ``._NAME`` for each file that it touches (AppleDouble). NFS and
Samba clients write ``.nfs...`` and ``.smbdelete...`` for files that are removed while open. DFS replication
keeps a folder ``DfsrPrivate`` that nobody may read.
"""

from __future__ import annotations

import re

_FILES = (
    r"(thumbs|ehthumbs|ehthumbs_vista)\.db|desktop\.ini|\.ds_store|\._.*|\.apdisk|\.localized|icon\r|\.directory"
    r"|~\$.*|\.~lock\..*#|\.nfs[0-9a-f]+|\.smbdelete[0-9a-f]+"
    r"|.+ - (copy|kopie|copie|copia|kopia)( \(\d+\))?(\.[^.]+)*"
)
_FOLDERS = (
    r"\$recycle\.bin|recycler|system volume information|\.trashes|\.trash-\d+|\.spotlight-v100|\.fseventsd"
    r"|\.temporaryitems|\.appledouble|@eadir|[.~]snapshot|lost\+found|dfsrprivate"
)


def is_litter(name: str, *, is_folder: bool) -> bool:
    """Whether an operating system or file server creates files with this name by itself."""
    # Compiled on first use: it takes longer than the rest of this module.
    return re.fullmatch(_FOLDERS if is_folder else _FILES, name, re.IGNORECASE | re.DOTALL) is not None
