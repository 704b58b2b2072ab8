#!/usr/bin/env bash
# Gates on an OWSM of ESPnet's, for Europarl-ST:
#   ./run.sh --corpus /data/europarl-st --base /models/owsm_v3.1_ebf_base
# Stages: 1 data, 2 config, 3 training, 4 decoding with and without gates, 5 conversion. Run it where ESPnet is installed.
set -euo pipefail

corpus=              # Europarl-ST v1.1, or a corpus in its layout (skipwise corpus build)
base=                # an OWSM as ESPnet packs it: a folder, or its .pth
languages="de fr it"
tasks="asr st_eng"
dir=                 # where everything is written; default: exp beside this script
stage=1
stop_stage=5
ngpu=1
test_split=test
train_args=          # further options of ESPnet's trainer, such as "--max_epoch 1"
python=python

while [ $# -gt 0 ]; do
  name=${1#--}
  if [ "$1" = "$name" ] || [ -z "${!name+known}" ] || [ $# -lt 2 ]; then
    echo "$0: options are --corpus --base --languages --tasks --dir --stage --stop_stage --ngpu --test_split --train_args" \
      "--python, each with a value; got: $*" >&2
    exit 2
  fi
  printf -v "$name" '%s' "$2"
  shift 2
done
if [ -z "$corpus" ] || [ -z "$base" ]; then
  echo "$0: say where the corpus is and which model is the base: --corpus DIR --base DIR" >&2
  exit 2
fi

here=$(cd "$(dirname "$0")" && pwd)
dir=${dir:-$here/exp}
data=$dir/data
run=$dir/s2t_gates
runs() { [ "$stage" -le "$1" ] && [ "$1" -le "$stop_stage" ]; }

if runs 1; then
  for split in train dev "$test_split"; do
    # shellcheck disable=SC2086
    "$python" "$here/local/data.py" "$corpus" "$split" "$data/$split" --languages $languages --tasks $tasks
  done
fi

if runs 2; then
  "$python" "$here/local/config.py" "$base" "$here/conf/train_gates.yaml" "$dir/config"
fi

if runs 3; then
  options=()
  for split in train dev; do
    part=$([ "$split" = train ] && echo train || echo valid)
    options+=(--"$part"_data_path_and_name_and_type "$data/$split/wav.scp,speech,sound")
    for text in text text.prev text.ctc; do
      options+=(--"$part"_data_path_and_name_and_type "$data/$split/$text,${text/./_},text")
    done
    options+=(--"$part"_shape_file "$data/$split/speech_shape")
  done
  # shellcheck disable=SC2086
  "$python" -m skipwise.training.espnet.train --config "$dir/config/train.yaml" --init_param "$(cat "$dir/config/base")" \
    --output_dir "$run" --ngpu "$ngpu" --resume true "${options[@]}" $train_args
fi

if runs 4; then
  "$python" "$here/local/decode.py" "$run/valid.loss.ave.pth" "$data/$test_split" "$dir/decode" --config "$here/conf/decode.yaml"
fi

if runs 5; then
  "$python" -m skipwise.cli.main convert "$run/valid.loss.ave.pth" "$dir/model" --overwrite
  echo "skipwise transcribe --model $dir/model speech.wav     # the gates lie beside it"
fi
