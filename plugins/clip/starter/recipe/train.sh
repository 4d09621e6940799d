#!/usr/bin/env bash
# Trains the starter model: makes the pictures, trains both phases, writes the model, and judges it on surfaces that
# training never saw. The same line again goes on where it was stopped.
#
#   train.sh DATA OUT                  # the schedule that the committed weights had
#   train.sh DATA OUT FIRST ALL        # another: FIRST steps of small crops, ALL steps together (a new one: 3000 12000)
#
# DATA gets the pictures, OUT the checkpoint (last.pt), starter.json and starter.safetensors.
# LOUPE is the program (loupe), PYTHON an interpreter with what README.md lists (python3), PRODUCTS how many products
# of each surface are trained on (60), HELD_OUT how many of each held-out one are judged (2).
set -euo pipefail
if [ $# != 2 ] && [ $# != 4 ]; then
    sed -n 's/^#   //p' "$0" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
data=$1 out=$2
loupe=${LOUPE:-loupe} python=${PYTHON:-python3}
export PYTHONWARNINGS=ignore::FutureWarning # open_clip's own imports

# The steps that the learning rate is spread over, and where to stop: the first phase, then the second. The lengths of the
# committed schedule were changed on the way.
first=("4500 1000" "3300 1500" "4500 3500" "3800 3800")
second=("13000 4500" "7400 5000" "8000 8000")
if [ $# = 4 ]; then
    first=("$3 $3") second=("$4 $4")
fi

"$loupe" --version > /dev/null || { echo "LOUPE=$loupe is no program; build it, or say where it is" >&2; exit 1; }
"$python" -c 'import numpy, open_clip, PIL, safetensors, scipy, torch' 2> /dev/null || {
    echo "PYTHON=$python lacks one of numpy, open_clip_torch, Pillow, safetensors, scipy, torch" >&2
    exit 1
}

make_data() { # NAME OPTIONS..: a folder is whole or absent
    local folder=$data/$1
    shift
    [ -d "$folder" ] || "$loupe" dataset make "$folder" "$@"
}

train() { # OPTIONS.. --- STEPS UNTIL..
    local options=() line
    while [ "$1" != --- ]; do
        options+=("$1")
        shift
    done
    shift
    for line in "$@"; do
        echo "training to step ${line#* }: ${options[*]}"
        "$python" "$here/train.py" "$out" "$data/training" --bf16 --steps "${line% *}" --until "${line#* }" "${options[@]}"
    done
}

mkdir -p "$data" "$out"
make_data training --set training --products "${PRODUCTS:-60}" --train 2 --good 1 --per-defect 1 \
    --defects-per-product 4 --size 256 --light 0.3 --seed 1 --captions
make_data held-out --set held-out --products "${HELD_OUT:-2}" --train 4 --good 8 --per-defect 2 \
    --defects-per-product 6 --size 256 --light 0.3 --seed 1
train --cosine --grids 8 --spots 0.4 --- "${first[@]}"
train --rate 6e-4 --balance 4 --- "${second[@]}"

echo "surfaces that training never saw: image AUROC, pixel AUROC, AUPRO@0.3"
"$python" "$here/evaluate.py" "$out" "$data/held-out" --sizes 64,96,128,192
sha256sum "$out/starter.json" "$out/starter.safetensors"
