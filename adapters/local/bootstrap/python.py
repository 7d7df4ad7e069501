"""The runtime interface client of the Python runtime: fetches events, calls the handler, returns what it says.

Owns the loop, the context object and the log format. Uses the standard library only; its HTTP client knows no proxy and is given
no timeout, because the process may be frozen inside `next`. Sources: "Building a custom runtime" and "Define Lambda function
handler in Python" of the AWS Lambda Developer Guide; aws-lambda-python-runtime-interface-client, awslambdaric/.
"""

import http.client
import importlib
import json
import logging
import os
import sys
import time
import traceback

BASE = "/2018-06-01/runtime"


class Client:
    """One kept-alive connection to the Runtime API at `address`, which is `host:port`."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address)

    def call(self, method, path, body=None, headers=None):
        self.connection.request(method, BASE + path, body, headers or {})
        response = self.connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise RuntimeError(f"The Runtime API answered {response.status} to {method} {path}: {content!r}")
        return response, content

    def report(self, path, error):
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Function-Error-Type": error["errorType"],
        }
        self.call("POST", path, json.dumps(error).encode(), headers)


class Record:
    """What the JSON of a client context or an identity becomes: an object with attributes."""

    def __init__(self, fields):
        self.__dict__.update(fields)


class Context:
    """The second argument of a handler."""

    def __init__(self, headers):
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.tenant_id = headers["Lambda-Runtime-Aws-Tenant-Id"]
        self.client_context = self._client_context(headers["Lambda-Runtime-Client-Context"])
        self.identity = self._identity(headers["Lambda-Runtime-Cognito-Identity"])

    @staticmethod
    def _client_context(text):
        if text is None:
            return None
        fields = json.loads(text)
        client = Record(fields["client"]) if fields.get("client") else None
        return Record({"custom": fields.get("custom"), "env": fields.get("env"), "client": client})

    @staticmethod
    def _identity(text):
        fields = json.loads(text) if text else {}
        return Record(
            {
                "cognito_identity_id": fields.get("cognitoIdentityId"),
                "cognito_identity_pool_id": fields.get("cognitoIdentityPoolId"),
            }
        )

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))


class TypedError(Exception):
    """A failure to find the handler, with the type that the service gives it."""

    def __init__(self, error_type, message):
        super().__init__(message)
        self.error_type = error_type


class RequestFilter(logging.Filter):
    """Names the invocation that a log record belongs to."""

    request_id = ""

    def filter(self, record):
        record.aws_request_id = RequestFilter.request_id
        return True


def describe(error):
    """The body of an error report."""
    error_type = getattr(error, "error_type", type(error).__name__)
    frames = traceback.format_list(traceback.extract_tb(error.__traceback__))
    # The first frames are this file's own.
    own = os.path.basename(__file__)
    return {
        "errorMessage": str(error),
        "errorType": error_type,
        "requestId": RequestFilter.request_id,
        "stackTrace": [frame for frame in frames if own not in frame],
    }


def log_error(error):
    """One line, as in CloudWatch: line feeds become carriage returns."""
    text = f"[ERROR] {error['errorType']}: {error['errorMessage']}\nTraceback (most recent call last):\n"
    print((text + "".join(error["stackTrace"])).rstrip("\n").replace("\n", "\r"), flush=True)


def load_handler(name):
    """Finds the function that `_HANDLER` names: folders, a module, a dot and a function."""
    module_name, dot, function_name = name.rpartition(".")
    if not dot or not module_name:
        raise TypedError("Runtime.MalformedHandlerName", f"Bad handler '{name}': name it as module.function")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise TypedError("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        raise TypedError(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}"
        ) from error
    try:
        return getattr(module, function_name)
    except AttributeError as error:
        raise TypedError("Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'") from error


def marshal(result):
    try:
        return json.dumps(result).encode()
    except (TypeError, ValueError) as error:
        raise TypedError("Runtime.MarshalError", f"Unable to marshal response: {error}") from error


def handle(client, handler):
    """Serves one invocation."""
    response, event = client.call("GET", "/invocation/next")
    headers = response.headers
    request_id = headers["Lambda-Runtime-Aws-Request-Id"]
    RequestFilter.request_id = request_id
    trace_id = headers["Lambda-Runtime-Trace-Id"]
    os.environ.pop("_X_AMZN_TRACE_ID", None)
    if trace_id is not None:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    path = f"/invocation/{request_id}"
    try:
        body = marshal(handler(json.loads(event), Context(headers)))
    except Exception as error:  # Whatever the function raises is the function's answer.
        described = describe(error)
        log_error(described)
        client.report(f"{path}/error", described)
        return
    client.call("POST", f"{path}/response", body, {"Content-Type": "application/json"})


def set_up_logging():
    sys.stdout.reconfigure(line_buffering=True)
    output = logging.StreamHandler(sys.stdout)
    output.addFilter(RequestFilter())
    formatter = logging.Formatter("[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    output.setFormatter(formatter)
    logging.getLogger().addHandler(output)


def main():
    set_up_logging()
    client = Client(os.environ["AWS_LAMBDA_RUNTIME_API"])
    # In the place of this file's own folder; what layers bring is in PYTHONPATH.
    sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]
    try:
        handler = load_handler(os.environ["_HANDLER"])
    except Exception as error:  # Whatever the module raises ends the init phase.
        described = describe(error)
        log_error(described)
        client.report("/init/error", described)
        sys.exit(1)
    while True:
        handle(client, handler)


main()
