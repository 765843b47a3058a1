#!/bin/sh
# The whole experiment for one seed: ./run.sh OUT SEED, after `python train.py OUT`.
# Scores the max-pool twin, the paper's network, the twin patched, and the twin patched and refitted, and tuned, on digits without labels.
set -eu
out=$1
seed=$2
view="--size 28 --resize 36 --mean 0.1307 --std 0.3081 --channels 1"
score="--labels folder --max-shift 2 --shifts 4 --limit ${LIMIT:-500} --no-stages --workers 0 -q"

shiftaudit patch "$out/aliased-$seed.pt" $view -o "$out/patched-$seed.pt" --force
shiftaudit refit "$out/patched-$seed.pt" "$out/unlabelled" --teacher "$out/aliased-$seed.pt" -o "$out/refit-$seed.pt" --force \
    --min-scale 0.9 -q
shiftaudit tune "$out/patched-$seed.pt" "$out/unlabelled" --teacher "$out/aliased-$seed.pt" -o "$out/tuned-$seed.pt" --force \
    --steps "${STEPS:-150}" --batch-size 32 --lr 1e-4 --min-scale 0.9 --no-flip --centred --shift-views 0 --checks 4 --holdout 0.05 -q
for name in aliased antialiased patched refit tuned; do
    shiftaudit score "$out/$name-$seed.pt" "$out/test" $view $score -o "$out/$name-$seed.json" > "$out/$name-$seed.txt"
done
shiftaudit compare "$out/aliased-$seed.json" "$out/antialiased-$seed.json" > "$out/compare-antialiased-$seed.txt"
shiftaudit compare "$out/aliased-$seed.json" "$out/refit-$seed.json" > "$out/compare-refit-$seed.txt"
shiftaudit compare "$out/aliased-$seed.json" "$out/tuned-$seed.json" > "$out/compare-tuned-$seed.txt"
