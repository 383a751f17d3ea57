"""Writes, signs and checks model packages.

    python package.py check FOLDER          digests, signature and known answers
    python package.py sign FOLDER KEYFILE   sign with an Ed25519 private key (64 hexadecimal digits)

The signature is over a domain and the manifest's bytes as they stand; in a folder with a threshold
file, over that file's bytes behind one word more. Without a key of one's own
a package is signed with the development key, whose private half is the SHA-256 of a published
phrase: it shows that a package was not damaged and proves nothing about who made it.
"""

import hashlib
import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

DOMAIN = b"groundtrack model package 1\0"
DEVELOPMENT_PHRASE = b"groundtrack development key: published, trust it with nothing"
PACKAGES = pathlib.Path(__file__).resolve().parent.parent / "packages"
TYPES = {"FP32": "<f4", "UINT8": "u1"}


def development_key():
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(DEVELOPMENT_PHRASE).digest())


def to_json(document):
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def tensor(port, array):
    kind = TYPES[port["datatype"]]
    array = numpy.ascontiguousarray(array, dtype=kind)
    return {
        "name": port["name"],
        "datatype": port["datatype"],
        "shape": list(array.shape),
        "data": array.tobytes().hex(),
    }


def vectors(manifest, model, questions, tolerance):
    """Known answers: `questions` maps a name to one array an input."""
    run = session(model)
    known = []
    for name, arrays in questions.items():
        feed = {port["name"]: array for port, array in zip(manifest["inputs"], arrays)}
        answers = run.run([port["name"] for port in manifest["outputs"]], feed)
        known.append({
            "name": name,
            "tolerance": tolerance,
            "inputs": [tensor(*pair) for pair in zip(manifest["inputs"], arrays)],
            "outputs": [tensor(*pair) for pair in zip(manifest["outputs"], answers)],
        })
    return to_json({"vectors": known})


def sign(folder, key):
    thresholds = folder / "thresholds.json"
    if thresholds.exists():
        message = DOMAIN + b"thresholds 1\0" + thresholds.read_bytes()
    else:
        message = DOMAIN + (folder / "manifest.json").read_bytes()
    entry = {
        "algorithm": "ed25519",
        "key": key.public_key().public_bytes_raw().hex(),
        "signature": key.sign(message).hex(),
    }
    (folder / "signature.json").write_bytes(to_json({"signatures": [entry]}))


def write(manifest, model, questions, tolerance=1e-4, notices=()):
    """Writes a package with the development signature. `notices` are files to ship with it."""
    for weights in onnx.load_from_string(model).graph.initializer:
        values = abs(onnx.numpy_helper.to_array(weights))
        denormal = (values > 0) & (values < 1e-37)
        assert not denormal.any(), f"{weights.name} holds denormal numbers, which are slow"
    folder = PACKAGES / manifest["name"]
    folder.mkdir(parents=True, exist_ok=True)
    files = {"model.onnx": model, "vectors.json": vectors(manifest, model, questions, tolerance)}
    files |= {path.name: path.read_bytes() for path in notices}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    manifest = {"format": 1, **manifest, "files": {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(files.items())
    }}
    (folder / "manifest.json").write_bytes(to_json(manifest))
    sign(folder, development_key())
    check(folder)
    print(f"wrote {folder} ({sum(p.stat().st_size for p in folder.iterdir())} bytes)")


def check(folder):
    data = (folder / "manifest.json").read_bytes()
    for entry in json.loads((folder / "signature.json").read_bytes())["signatures"]:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(entry["key"]))
        key.verify(bytes.fromhex(entry["signature"]), DOMAIN + data)
    manifest = json.loads(data)
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert len(content) == entry["bytes"], f"{name}: length"
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], f"{name}: digest"
    run = session((folder / "model.onnx").read_bytes())
    array = lambda t: numpy.frombuffer(
        bytes.fromhex(t["data"]), TYPES[t["datatype"]]).reshape(t["shape"])
    for vector in json.loads((folder / "vectors.json").read_bytes())["vectors"]:
        answers = run.run([t["name"] for t in vector["outputs"]],
                          {t["name"]: array(t) for t in vector["inputs"]})
        for wanted, found in zip(vector["outputs"], answers):
            worst = float(abs(array(wanted) - found).max())
            assert worst <= vector["tolerance"], f"{vector['name']}: off by {worst}"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["check", folder]:
            check(pathlib.Path(folder))
            print("signature, digests and known answers hold")
        case ["sign", folder, key]:
            private = bytes.fromhex(pathlib.Path(key).read_text().strip())
            sign(pathlib.Path(folder), Ed25519PrivateKey.from_private_bytes(private))
        case _:
            sys.exit(__doc__)
