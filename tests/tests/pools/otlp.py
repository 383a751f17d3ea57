"""Reads a question to a collector as OpenTelemetry's own messages and prints its spans."""

import json
import sys

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from google.protobuf.unknown_fields import UnknownFieldSet

rows = []
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        request = ExportTraceServiceRequest.FromString(file.read())
    for resource in request.resource_spans:
        about = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        assert about["service.name"] == "groundstation", about
        for scope in resource.scope_spans:
            assert scope.scope.name == "groundtrack"
            for span in scope.spans:
                assert len(UnknownFieldSet(span)) == 0, span
                assert len(span.trace_id) == 16 and len(span.span_id) == 8, span
                assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano, span
                parent = span.parent_span_id.hex()
                rows.append([span.name, span.trace_id.hex(), span.span_id.hex(), parent])
print(json.dumps(rows))
