"""Feature importance, as a training job left it."""

import io
import json
import tarfile

IMPORTANCE_FILE = "feature_importance.json"  # as the training script calls it
_LARGEST_IMPORTANCE = 1 << 20


def gains_in(archive: bytes) -> dict[str, float]:
    """Feature → gain, of a training job's output."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        for member in files:
            if member.name.removeprefix("./") == IMPORTANCE_FILE and member.isfile():
                file = files.extractfile(member)
                document = json.loads(file.read(_LARGEST_IMPORTANCE)) if file else {}
                return {str(name): float(gain) for name, gain in document.items()}
    return {}
