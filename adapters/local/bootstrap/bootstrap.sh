#!/bin/sh
# Starts a managed runtime as Lambda's own bootstrap does: the arguments are the interpreter and its arguments, and
# AWS_LAMBDA_EXEC_WRAPPER, when it is set, is executed in their place with all of them as its arguments.
# Source: "Modifying the runtime environment" of the AWS Lambda Developer Guide.
wrapper="$AWS_LAMBDA_EXEC_WRAPPER"
if [ -z "$wrapper" ]; then
  exec "$@"
fi
if [ ! -f "$wrapper" ]; then
  echo "$wrapper: does not exist"
  exit 127
fi
if [ ! -x "$wrapper" ]; then
  echo "$wrapper: is not an executable"
  exit 126
fi
exec "$wrapper" "$@"
