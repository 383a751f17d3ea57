"""What NVIDIA's own client makes of a server of the Open Inference Protocol.

    oip_client.py HTTP_ADDRESS GRPC_ADDRESS

The server has the model cloud-screen: a UINT8 tile of 4x64x64 in, a mask and a fraction out. Each
claim is an assertion; the last line says that all held.
"""

import sys

import numpy
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

MODEL = "cloud-screen"
TILES = (numpy.arange(3 * 4 * 64 * 64) % 251).astype(numpy.uint8).reshape(3, 4, 64, 64)


def refused(call, words, code=None):
    try:
        call()
    except InferenceServerException as error:
        assert words in error.message(), error
        assert code is None or error.status() == code, error
    else:
        raise AssertionError(f"not refused: {words}")


def health_and_metadata(client, metadata, version):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, version)
    assert not client.is_model_ready("tea")
    assert not client.is_model_ready(MODEL, "999")
    server = metadata(client.get_server_metadata)
    assert server["name"] == "groundtrack", server
    model = metadata(client.get_model_metadata, MODEL)
    assert model["versions"] == [version], model
    tile, mask, fraction = *model["inputs"], *model["outputs"]
    shape = [int(extent) for extent in tile["shape"]]
    assert (tile["name"], tile["datatype"], shape) == ("tile", "UINT8", [-1, 4, 64, 64]), tile
    assert [mask["name"], fraction["name"]] == ["mask", "fraction"], model
    refused(lambda: client.get_model_metadata("tea"), "tea")
    return server


def http(address):
    kind = tritonclient.http
    client = kind.InferenceServerClient(address)
    version = client.get_model_metadata(MODEL)["versions"][0]
    server = health_and_metadata(client, lambda call, *about: call(*about), version)
    assert "binary_tensor_data" in server["extensions"], server
    results = []
    for raw_in in (True, False):
        for raw_out in (True, False, None):
            tile = kind.InferInput("tile", TILES.shape, "UINT8")
            tile.set_data_from_numpy(TILES, binary_data=raw_in)
            # None names no output: the client asks for all, raw.
            wanted = raw_out if raw_out is None else [
                kind.InferRequestedOutput("fraction", binary_data=raw_out),
                kind.InferRequestedOutput("mask", binary_data=not raw_out),
            ]
            answer = client.infer(MODEL, [tile], outputs=wanted, request_id="q7")
            assert answer.get_response()["id"] == "q7"
            results.append((answer.as_numpy("mask"), answer.as_numpy("fraction")))
    tile = kind.InferInput("tile", TILES.shape, "UINT8").set_data_from_numpy(TILES)
    one = client.infer(MODEL, [tile], outputs=[kind.InferRequestedOutput("mask")])
    assert one.as_numpy("fraction") is None
    pending = [client.async_infer(MODEL, [tile], model_version=version) for _ in range(4)]
    results += [(it.as_numpy("mask"), it.as_numpy("fraction"))
                for it in (it.get_result() for it in pending)]

    small = kind.InferInput("tile", [1, 4, 8, 8], "UINT8")
    small.set_data_from_numpy(TILES[:1, :, :8, :8].copy())
    refused(lambda: client.infer(MODEL, [small]), "tile", "400")
    refused(lambda: client.infer("tea", [tile]), "tea", "404")
    refused(lambda: client.infer(MODEL, [tile], model_version="999"), "999", "404")
    tea = [kind.InferRequestedOutput("tea")]
    refused(lambda: client.infer(MODEL, [tile], outputs=tea), "no output \"tea\"", "400")
    classes = [kind.InferRequestedOutput("mask", class_count=2)]
    refused(lambda: client.infer(MODEL, [tile], outputs=classes), "classification", "400")
    deflate = lambda: client.infer(MODEL, [tile], request_compression_algorithm="gzip")
    refused(deflate, "compressed", "415")
    return results


def grpc(address):
    kind = tritonclient.grpc
    client = kind.InferenceServerClient(address)
    version = client.get_model_metadata(MODEL, as_json=True)["versions"][0]
    metadata = lambda call, *about: call(*about, as_json=True)
    health_and_metadata(client, metadata, version)
    tile = kind.InferInput("tile", TILES.shape, "UINT8")
    tile.set_data_from_numpy(TILES)
    answer = client.infer(MODEL, [tile], request_id="q7", client_timeout=60)
    assert answer.get_response().id == "q7"
    results = [(answer.as_numpy("mask"), answer.as_numpy("fraction"))]
    one = client.infer(MODEL, [tile], outputs=[kind.InferRequestedOutput("mask")])
    assert one.as_numpy("fraction") is None
    # Contents by type, as clients without numpy send them.
    typed = kind.service_pb2.ModelInferRequest(model_name=MODEL)
    typed.inputs.add(name="tile", datatype="UINT8", shape=TILES.shape)
    typed.inputs[0].contents.uint_contents.extend(int(it) for it in TILES.flat)
    answer = kind.InferResult(client._client_stub.ModelInfer(typed))
    results.append((answer.as_numpy("mask"), answer.as_numpy("fraction")))

    small = kind.InferInput("tile", [1, 4, 8, 8], "UINT8")
    small.set_data_from_numpy(TILES[:1, :, :8, :8].copy())
    code = lambda name: f"StatusCode.{name}"
    refused(lambda: client.infer(MODEL, [small]), "tile", code("INVALID_ARGUMENT"))
    refused(lambda: client.infer("tea", [tile]), "tea", code("NOT_FOUND"))
    tea = [kind.InferRequestedOutput("tea")]
    refused(lambda: client.infer(MODEL, [tile], outputs=tea), "tea", code("INVALID_ARGUMENT"))
    statistics = lambda: client.get_inference_statistics(MODEL)
    refused(statistics, "ModelStatistics", code("UNIMPLEMENTED"))
    return results


results = http(sys.argv[1]) + grpc(sys.argv[2])
for mask, fraction in results:
    assert mask.shape == (3, 1, 16, 16) and fraction.shape == (3, 1)
    # JSON rounds nothing that a float can hold.
    assert numpy.array_equal(mask, results[0][0]) and numpy.array_equal(fraction, results[0][1])
print(f"{len(results)} answers alike")
