#!/usr/bin/env bash
# The whole study, from the prepared images to the tables of docs/recover.md: ./run.sh STUDY OUT, after
#   python prepare.py STUDY BACKGROUNDS WALLPAPERS --stamps STAMPS     (the folders of Debian's packages)
# One process on one core; every command's CPU time is printed. SHIFTS, CROPS and STEPS make it shorter or longer.
set -eu
study=$(realpath "$1")
mkdir -p "$2"
here=$(realpath "$(dirname "$0")")
cd "$2"
export OMP_NUM_THREADS=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000
scaled="--mean 0.498039 --std 0.501961"
quiet="--no-stages --workers 0 -q"
labelled="$study/labelled --labels $study/labels.csv --interpolation bicubic $quiet"
unseen="$study/test --labels none --shifts ${SHIFTS:-4} $quiet"

python "$here/networks.py"

# network NAME SIZE RESIZE
network() {
    view="--size $2 --resize $3 $scaled"
    shiftaudit patch "$1.pt" $view -o "$1-patched.pt" --force -q
    time shiftaudit refit "$1-patched.pt" "$study/tune" --teacher "$1.pt" -o "$1-refit.pt" --crops "${CROPS:-500}" --force -q
    shiftaudit score "$1.pt" $labelled $view -o "$1-labelled.json"
    shiftaudit score "$1.pt" $unseen $view -o "$1-unseen.json"
    copy "$1" patched
    copy "$1" refit
}

# copy NAME WAY: score it, and hold it against the original.
copy() {
    for images in labelled unseen; do
        shiftaudit score "$1-$2.pt" ${!images} -o "$1-$2-$images.json"
        python "$here/summary.py" "$1-$images.json" "$1-$2-$images.json" | tee "$1-$2-$images.txt"
    done
}

network lite0 224 256
time shiftaudit tune lite0-refit.pt "$study/tune" --teacher lite0.pt -o lite0-tuned.pt --force -q \
    --grow 0 --lr 1e-4 --shift-views 2 --holdout 0.1 --steps "${STEPS:-1350}" --checks 6 --patience 6
copy lite0 tuned
network lite2 260 292
