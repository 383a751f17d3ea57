"""Vendors' own client libraries before the doubles of their services.

    vendors.py URL KEY KEY_ID SECRET

They have to understand every answer and every error of the doubles as they would the service's own;
then what the doubles teach our adapters is worth something.
"""

import base64
import json
import sys

import anthropic
import boto3
import botocore.config
import botocore.eventstream
import botocore.exceptions
import openai

URL, KEY, KEY_ID, SECRET = sys.argv[1:]
WORDS = "Two fires in the north."
ANSWER = {"fires": 2, "where": "north"}
PNG = b"\x89PNG\r\n\x1a\nrest"
IMAGE = base64.b64encode(PNG).decode()
SCHEMA = {
    "type": "object",
    "properties": {"fires": {"type": "integer"}, "where": {"type": "string"}},
    "required": ["fires", "where"],
    "additionalProperties": False,
}
claims = 0


def claim(truth, what=""):
    global claims
    assert truth, what
    claims += 1


def fails(kind, call):
    try:
        call()
    except kind as error:
        claim(True)
        return error
    raise AssertionError(f"no {kind}")


def openai_claims():
    client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}
    content = [{"type": "text", "text": "What burns?"}, picture]
    messages = [{"role": "system", "content": "Watch."}, {"role": "user", "content": content}]
    ask = lambda model="steady", **more: client.chat.completions.create(
        model=model, messages=messages, **more)
    answer = ask(max_tokens=50)
    claim(answer.choices[0].message.content == WORDS)
    claim((answer.usage.prompt_tokens, answer.usage.completion_tokens) == (42, 7))
    schema = {"name": "fires", "schema": SCHEMA, "strict": True}
    structured = {"type": "json_schema", "json_schema": schema}
    claim(json.loads(ask(response_format=structured).choices[0].message.content) == ANSWER)
    tool = {"type": "function", "function": {"name": "fires", "parameters": SCHEMA}}
    choice = {"type": "function", "function": {"name": "fires"}}
    called = ask(tools=[tool], tool_choice=choice).choices[0].message.tool_calls[0]
    claim(json.loads(called.function.arguments) == ANSWER)
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    claim(said == WORDS)
    claim(chunks[-1].usage.completion_tokens == 7)
    chunks = list(ask(stream=True, tools=[tool], tool_choice=choice))
    calls = [chunk.choices[0].delta.tool_calls for chunk in chunks if chunk.choices]
    claim(json.loads("".join(call[0].function.arguments for call in calls if call)) == ANSWER)
    claim(ask("unwilling").choices[0].message.refusal)
    claim(ask("long").choices[0].finish_reason == "length")
    error = fails(openai.RateLimitError, lambda: ask("busy"))
    claim(error.response.headers["retry-after"] == "7" and error.code == "rate_limit_exceeded")
    claim(fails(openai.RateLimitError, lambda: ask("poor")).code == "insufficient_quota")
    fails(openai.InternalServerError, lambda: ask("broken"))
    claim(fails(openai.BadRequestError, lambda: ask("forbidden")).code == "content_policy_violation")
    fails(openai.APIError, lambda: list(ask("stumbling", stream=True)))
    wrong = openai.OpenAI(base_url=f"{URL}/v1", api_key="wrong", max_retries=0)
    fails(openai.AuthenticationError,
          lambda: wrong.chat.completions.create(model="steady", messages=messages))


def anthropic_claims():
    client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)
    source = {"type": "base64", "media_type": "image/png", "data": IMAGE}
    content = [{"type": "text", "text": "What burns?"}, {"type": "image", "source": source}]
    about = {"max_tokens": 50, "messages": [{"role": "user", "content": content}]}
    ask = lambda model="steady", **more: client.messages.create(model=model, **about, **more)
    answer = ask(system="Watch.")
    claim(answer.content[0].text == WORDS and answer.stop_reason == "end_turn")
    claim((answer.usage.input_tokens, answer.usage.output_tokens) == (42, 7))
    structured = {"format": {"type": "json_schema", "schema": SCHEMA}}
    claim(json.loads(ask(output_config=structured).content[0].text) == ANSWER)
    tool = {"tools": [{"name": "fires", "input_schema": SCHEMA}],
            "tool_choice": {"type": "tool", "name": "fires"}}
    claim(ask(**tool).content[0].input == ANSWER)
    for more, read in ((tool, lambda it: it.input), ({}, lambda it: it.text)):
        with client.messages.stream(model="steady", **about, **more) as stream:
            whole = stream.get_final_message()
        claim(read(whole.content[0]) == (ANSWER if more else WORDS))
        claim(whole.usage.output_tokens == 7)
    claim(ask("long").stop_reason == "max_tokens")
    claim(ask("filtered").stop_reason == "refusal")
    error = fails(anthropic.RateLimitError, lambda: ask("busy"))
    claim(error.response.headers["retry-after"] == "7")
    claim(fails(anthropic.APIStatusError, lambda: ask("overloaded")).status_code == 529)
    claim(fails(anthropic.APIStatusError, lambda: ask("poor")).status_code == 402)
    fails(anthropic.InternalServerError, lambda: ask("broken"))
    fails(anthropic.BadRequestError, lambda: ask("forbidden"))
    fails(anthropic.APIStatusError, lambda: list(ask("stumbling", stream=True)))
    wrong = anthropic.Anthropic(base_url=URL, api_key="wrong", max_retries=0)
    fails(anthropic.AuthenticationError, lambda: wrong.messages.create(model="steady", **about))


def aws_claims():
    once = botocore.config.Config(retries={"total_max_attempts": 1})
    client = lambda name, secret=SECRET: boto3.client(
        name, region_name="eu-central-1", endpoint_url=URL, aws_access_key_id=KEY_ID,
        aws_secret_access_key=secret, config=once)
    bedrock = client("bedrock-runtime")
    picture = {"image": {"format": "png", "source": {"bytes": PNG}}}
    messages = [{"role": "user", "content": [{"text": "What burns?"}, picture]}]
    ask = lambda model="vendor.model-v1:0", **more: bedrock.converse(
        modelId=model, messages=messages, inferenceConfig={"maxTokens": 50}, **more)
    answer = ask(system=[{"text": "Watch."}])
    claim(answer["output"]["message"]["content"][0]["text"] == WORDS)
    claim((answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]) == (42, 7))
    structure = {"jsonSchema": {"schema": json.dumps(SCHEMA), "name": "fires"}}
    structured = {"textFormat": {"type": "json_schema", "structure": structure}}
    answer = ask(outputConfig=structured)["output"]["message"]["content"][0]
    claim(json.loads(answer["text"]) == ANSWER)
    tools = {"tools": [{"toolSpec": {"name": "fires", "inputSchema": {"json": SCHEMA}}}],
             "toolChoice": {"tool": {"name": "fires"}}}
    answer = ask(toolConfig=tools)["output"]["message"]["content"][0]
    claim(answer["toolUse"]["input"] == ANSWER)
    for model, more, wanted in (("steady", {}, WORDS), ("steady", {"toolConfig": tools}, ANSWER)):
        answer = bedrock.converse_stream(modelId=model, messages=messages, **more)
        events = list(answer["stream"])
        deltas = [event["contentBlockDelta"]["delta"] for event in events
                  if "contentBlockDelta" in event]
        said = "".join(delta.get("text") or delta["toolUse"]["input"] for delta in deltas)
        claim((json.loads(said) if more else said) == wanted)
        claim(events[-1]["metadata"]["usage"]["outputTokens"] == 7)
        claim(events[-2]["messageStop"]["stopReason"] == ("tool_use" if more else "end_turn"))
    broken = lambda model: list(
        bedrock.converse_stream(modelId=model, messages=messages)["stream"])
    other = fails(botocore.exceptions.EventStreamError, lambda: broken("stumbling"))
    claim(other.response["Error"]["Code"] == "throttlingException")
    fails(botocore.eventstream.ChecksumMismatch, lambda: broken("damaged"))
    known = bedrock.exceptions
    fails(known.ThrottlingException, lambda: ask("busy"))
    fails(known.ServiceQuotaExceededException, lambda: ask("poor"))
    fails(known.InternalServerException, lambda: ask("broken"))
    fails(known.ValidationException, lambda: ask("forbidden"))
    code = lambda error: error.response["Error"]["Code"]
    other = fails(botocore.exceptions.ClientError, lambda: ask("expired"))
    claim(code(other) == "ExpiredTokenException")
    wrong = client("bedrock-runtime", "wrong")
    other = fails(botocore.exceptions.ClientError,
                  lambda: wrong.converse(modelId="steady", messages=messages))
    claim(code(other) == "InvalidSignatureException", code(other))
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "What burns?"}]}]}
    arn = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.vendor.model-v1:0"
    for model in ("vendor.model-v1:0", arn):
        answer = bedrock.invoke_model(modelId=model, body=json.dumps(body))
        claim(json.loads(answer["body"].read())["content"][0]["text"] == WORDS)
    streamed = lambda model, body=body: list(bedrock.invoke_model_with_response_stream(
        modelId=model, body=json.dumps(body))["body"])
    events = [json.loads(event["chunk"]["bytes"]) for event in streamed(arn)]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    claim("".join(delta["text"] for delta in deltas) == WORDS)
    claim(events[-1]["type"] == "message_stop")
    metrics = "amazon-bedrock-invocationMetrics"
    claim(events[-1][metrics]["outputTokenCount"] == 7)
    chat = {"model": "steady", "max_tokens": 50,
            "messages": [{"role": "user", "content": "What burns?"}]}
    spoken = lambda chunks: "".join(
        chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
    events = [json.loads(event["chunk"]["bytes"]) for event in streamed("steady", chat)]
    claim(spoken(events) == WORDS and events[-1][metrics]["inputTokenCount"] == 42)
    answer = bedrock.invoke_model(modelId="steady", body=json.dumps(chat))
    claim(json.loads(answer["body"].read())["choices"][0]["message"]["content"] == WORDS)
    for model, said in (("stumbling", "throttlingException"),
                        ("collapsing", "modelStreamErrorException")):
        other = fails(botocore.exceptions.EventStreamError, lambda: streamed(model))
        claim(code(other) == said, code(other))
    fails(botocore.eventstream.ChecksumMismatch, lambda: streamed("damaged"))
    fails(known.ThrottlingException, lambda: streamed("busy"))
    fails(known.ValidationException, lambda: streamed("steady", {**body, "stream": True}))
    own = anthropic.AnthropicBedrock(aws_region="eu-central-1", aws_access_key=KEY_ID,
                                     aws_secret_key=SECRET, base_url=URL, max_retries=0)
    about = {"max_tokens": 50, "messages": body["messages"]}
    with own.messages.stream(model="vendor.model-v1:0", **about) as stream:
        whole = stream.get_final_message()
    claim(whole.content[0].text == WORDS and whole.usage.output_tokens == 7)
    fails(anthropic.APIStatusError,
          lambda: list(own.messages.create(model="stumbling", stream=True, **about)))
    sagemaker = client("sagemaker-runtime")
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2.0]}
    answer = sagemaker.invoke_endpoint(EndpointName="far", ContentType="application/json",
                                       Body=json.dumps({"inputs": [tensor]}))
    claim(json.loads(answer["Body"].read())["outputs"][0]["data"] == [1.5, -2.0])
    fails(sagemaker.exceptions.ModelError, lambda: sagemaker.invoke_endpoint(
        EndpointName="crashing", ContentType="application/json", Body=b"{}"))
    streamed = lambda model, body: sagemaker.invoke_endpoint_with_response_stream(
        EndpointName=model, ContentType="application/json",
        Body=json.dumps({**body, "stream": True}))
    joined = lambda answer: b"".join(part["PayloadPart"]["Bytes"] for part in answer["Body"])
    answer = streamed("steady", chat)
    claim(answer["ContentType"].startswith("text/event-stream"))
    *events, done = joined(answer).decode().removesuffix("\n\n").split("\n\n")
    events = [json.loads(event.removeprefix("data: ")) for event in events]
    claim(spoken(events) == WORDS and done == "data: [DONE]")
    claim(events[-1]["usage"]["completion_tokens"] == 7)
    answer = streamed("lines", chat)
    claim(answer["ContentType"] == "application/jsonlines")
    claim(spoken(map(json.loads, joined(answer).splitlines())) == WORDS)
    claim(b"event: message_stop" in joined(streamed("steady", body)))
    for model, said in (("stumbling", "ModelStreamError"), ("collapsing", "InternalStreamFailure")):
        other = fails(botocore.exceptions.EventStreamError, lambda: joined(streamed(model, chat)))
        claim(code(other) == said, code(other))
    fails(botocore.eventstream.ChecksumMismatch, lambda: joined(streamed("damaged", chat)))
    fails(sagemaker.exceptions.ModelError, lambda: sagemaker.invoke_endpoint_with_response_stream(
        EndpointName="steady", ContentType="application/json", Body=json.dumps(chat)))


openai_claims()
anthropic_claims()
aws_claims()
print(f"{claims} claims hold for openai {openai.__version__}, anthropic {anthropic.__version__}, "
      f"boto3 {boto3.__version__}")
