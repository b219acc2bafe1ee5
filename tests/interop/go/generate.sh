#!/bin/sh
# Regenerates kitex_gen from ../idl/interop.thrift with the pinned generators
# (the versions that go.mod of the kitex release names).
set -eu
cd "$(dirname "$0")"
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
here=$PWD
cd "$tools"
printf 'module tools\n\ngo 1.24.0\n\nrequire github.com/cloudwego/kitex v0.16.3\n' >go.mod
go build -mod=mod -o "$tools/kitex" github.com/cloudwego/kitex/tool/cmd/kitex
go build -mod=mod -o "$tools/thriftgo" github.com/cloudwego/thriftgo
cd "$here"
rm -rf kitex_gen
PATH="$tools:$PATH" "$tools/kitex" -streamx -module ripcord/interop ../idl/interop.thrift
