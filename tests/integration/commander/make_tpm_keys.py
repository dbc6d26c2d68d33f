"""A process that makes keys in a TPM, for a test that kills it. Arguments: directory, TCTI."""

import sys
from pathlib import Path

from edge_commander.tpm.keys import TpmKeyStore
from edge_commander.tpm.tools import Tpm

store = TpmKeyStore(Path(sys.argv[1]), Tpm(sys.argv[2]))
print("begins", flush=True)
store.create()
print("made", flush=True)
