#!/bin/sh
# A checkpoint to an exact file and an int8 file, both judged on your pictures, and what is in them.
#
#     sh examples/export.sh CHECKPOINT PHOTOS OUT [OPTION OF ce2p export]...
#
# The first command that fails ends the script; one line says why.
set -eu
if [ $# -lt 3 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
checkpoint=$1 photos=$2 out=$3
shift 3
mkdir -p "$out"
ce2p export "$checkpoint" --data "$photos" -o "$out/fp32.onnx" "$@"
ce2p export "$checkpoint" --precision int8 --calib "$photos" -o "$out/int8.onnx" "$@"
ce2p inspect "$out/int8.onnx"
# How fast they are here, when nothing else runs: ce2p benchmark "$out/fp32.onnx" "$out/int8.onnx" -o "$out/report"
