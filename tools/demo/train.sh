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
    "$lorikeet" train --run-dir "$folder/runs/$name" --out "$name" --seed 1 "$@"
  fi
  touch "$folder/runs/$name/done"
}

data() {
  [ -e "$folder/data/done" ] && return
  "$painter" "$folder/data/base" --count 16000 --seed 1
  # The autoencoder is for every picture, so it sees all styles; the U-Net never does.
  local style
  for style in neon sketch pixel glass blueprint; do "$painter" "$folder/data/mixed/$style" --count 800 --seed 2 --style $style; done
  "$painter" "$folder/data/mixed/base" --count 6000 --seed 3
  "$painter" "$folder/data/mixed/robot" --count 200 --seed 4 --subject robot
  for style in neon sketch pixel; do "$painter" "$folder/data/$style" --count 20 --seed 5 --style $style; done
  "$painter" "$folder/data/robot" --count 15 --seed 6 --subject robot
  "$painter" "$folder/data/robot-class" --count 60 --seed 7 --composition single
  touch "$folder/data/done"
}

autoencoder() {
  [ -e "$folder/fresh.safetensors" ] || "$lorikeet" fresh --output "$folder/fresh.safetensors" --seed 1 --unet-channels 96 128 192 192 --unet-heads 4 \
    --unet-groups 16 --vae-channels 24 48 96 96 --vae-groups 8 --text-width 64 --text-layers 4 --text-heads 4
  run demo-vae --model "$folder/fresh.safetensors" --images "$folder/data/mixed" --method autoencoder --width 128 --height 128 --no-buckets \
    --batch-size 4 --steps 12000 --learning-rate 8e-4 --lr-schedule cosine --warmup-steps 100 --precision f32 --backup-every 500
}

base() {
  run demo --model "$folder/runs/demo-vae/demo-vae.safetensors" --images "$folder/data/base" --method full --width 128 --height 128 --no-buckets \
    --batch-size 32 --steps 8000 --learning-rate 6e-4 --lr-schedule cosine --warmup-steps 200 --min-snr-gamma 5 --caption-dropout 0.1 \
    --ema-decay 0.9995 --weight-decay 0.01 --backup-every 250
}

loras() {
  local model="$folder/runs/demo/demo.safetensors" style
  for style in neon sketch pixel; do
    run "$style" --model "$model" --images "$folder/data/$style" --width 128 --height 128 --no-buckets --rank 8 --batch-size 4 --steps 400 --learning-rate 1e-3
  done
  run robot --model "$model" --images "$folder/data/robot" --trigger "sks robot" --class-images "$folder/data/robot-class" --class-prompt "a picture" \
    --width 128 --height 128 --no-buckets --rank 8 --batch-size 4 --steps 600 --learning-rate 1e-3
  run dusk --model "$model" --images "$folder/data/dusk" --method textual_inversion --token dusk --vectors 4 --width 128 --height 128 --no-buckets \
    --batch-size 4 --steps 500
}

install() {
  mkdir -p models/checkpoints models/loras models/embeddings
  cp "$folder/runs/demo/demo.safetensors" models/checkpoints/demo.safetensors
  local name
  for name in neon sketch pixel robot; do cp "$folder/runs/$name/$name.safetensors" models/loras/; done
}

stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(data autoencoder base loras install)
for stage in "${stages[@]}"; do "$stage"; done
