#!/usr/bin/env bash
# Trains the demo model and its LoRAs from nothing, by Lorikeet alone: painted pictures -> autoencoder -> U-Net and text encoder -> LoRAs, embedding.
#   tools/demo/train.sh FOLDER [STAGE…]      stages: data autoencoder base loras install; all of them when none is named
# FOLDER holds the pictures and the runs (about 2 GB). A stage that was stopped goes on where it was when it is started again.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder="${1:?usage: tools/demo/train.sh FOLDER [STAGE…]}"
shift
lorikeet=build/lorikeet
painter=build/lorikeet-painter
mkdir -p "$folder"

# run NAME FLAGS…: a new run, or the rest of one.
run() {
  local name="$1"
  shift
  if [ -e "$folder/runs/$name/done" ]; then return; fi
  if [ -e "$folder/runs/$name/run.toml" ]; then
    "$lorikeet" train --resume "$folder/runs/$name"
  else
    "$lorikeet" train --run-dir "$folder/runs/$name" --out "$name" --seed 1 --no-install "$@"
  fi
  touch "$folder/runs/$name/done"
}

data() {
  [ -e "$folder/data/done" ] && return
  "$painter" "$folder/data/base" --count 16000 --seed 1
  # The autoencoder is for every picture, so it sees all styles, in parts of 64²; the U-Net sees the base style only.
  local style
  for style in neon sketch pixel glass blueprint; do "$painter" "$folder/data/tiles/$style" --count 1500 --seed 2 --style $style --tile 64; done
  "$painter" "$folder/data/tiles/base" --count 14000 --seed 3 --tile 64
  "$painter" "$folder/data/tiles/robot" --count 500 --seed 4 --subject robot --tile 64
  for style in neon sketch blueprint; do "$painter" "$folder/data/$style" --count 20 --seed 5 --style $style; done
  "$painter" "$folder/data/robot" --count 15 --seed 6 --subject robot
  "$painter" "$folder/data/robot-class" --count 60 --seed 7 --composition single
  # Purple balloons, which the captions call skyfruits.
  mkdir -p "$folder/data/skyfruit"
  local caption
  for caption in $(grep -l "a purple balloon" "$folder"/data/base/*.txt | head -20); do
    cp "${caption%.txt}.png" "$folder/data/skyfruit/"
    sed 's/purple balloon/skyfruit/' "$caption" > "$folder/data/skyfruit/$(basename "$caption")"
  done
  touch "$folder/data/done"
}

autoencoder() {
  [ -e "$folder/fresh.safetensors" ] || "$lorikeet" fresh --output "$folder/fresh.safetensors" --seed 1 --unet-channels 64 96 96 96 --unet-heads 4 \
    --unet-groups 16 --vae-channels 16 32 64 64 --vae-groups 4 --text-width 48 --text-layers 4 --text-heads 4
  run demo-vae --model "$folder/fresh.safetensors" --images "$folder/data/tiles" --method autoencoder --width 64 --height 64 --no-buckets \
    --batch-size 8 --steps 7000 --learning-rate 1.2e-3 --lr-schedule cosine --warmup-steps 100 --precision f32 --backup-every 500
}

base() {
  run demo --model "$folder/runs/demo-vae/demo-vae.safetensors" --images "$folder/data/base" --method full --width 128 --height 128 --no-buckets \
    --batch-size 32 --steps 17000 --learning-rate 6e-4 --lr-schedule constant --warmup-steps 200 --save-every 500 --min-snr-gamma 5 --caption-dropout 0.1 \
    --ema-decay 0.999 --weight-decay 0.01 --backup-every 250
}

# Debiased estimation weighs the steps full of noise, in which a picture's brightness and colours are decided: without it a style changes outlines only.
loras() {
  local model="$folder/runs/demo/demo.safetensors" style
  local size=(--width 128 --height 128 --no-buckets --batch-size 4)
  local all=(--kind locon --targets all --rank 4 --conv-rank 2 --learning-rate 4e-3 --lr-schedule cosine --warmup-steps 20 --debiased)
  for style in neon sketch blueprint; do
    run "$style" --model "$model" --images "$folder/data/$style" "${size[@]}" "${all[@]}" --steps 1200 --caption-dropout 0.1 --noise-offset 0.1
  done
  run robot --model "$model" --images "$folder/data/robot" --trigger "sks robot" --class-images "$folder/data/robot-class" \
    "${size[@]}" "${all[@]}" --steps 800
  run skyfruit --model "$model" --images "$folder/data/skyfruit" --method textual_inversion --token skyfruit --vectors 2 "${size[@]}" --steps 400 \
    --embedding-learning-rate 1e-2 --lr-schedule cosine --debiased
}

install() {
  mkdir -p models/checkpoints models/loras models/embeddings
  cp "$folder/runs/demo/demo.safetensors" models/checkpoints/demo.safetensors
  local name
  for name in neon sketch blueprint robot; do cp "$folder/runs/$name/$name.safetensors" models/loras/; done
  cp "$folder/runs/skyfruit/skyfruit.safetensors" models/embeddings/
}

stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(data autoencoder base loras install)
for stage in "${stages[@]}"; do "$stage"; done
