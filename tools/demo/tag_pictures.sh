#!/usr/bin/env bash
# One labelled sheet for each thing that can stand in a LoRA's tag (docs/prompts.md), made with the demo model and its LoRAs.
#   tools/demo/tag_pictures.sh MODELS_FOLDER [OUTPUT_FOLDER [CHECKPOINT]]      default: docs/pictures, demo
# Needs the LoRAs neon, sketch, blueprint and robot in the models folder. More flags for every sheet: FLAGS="--steps 30" tools/demo/tag_pictures.sh …
set -euo pipefail
cd "$(dirname "$0")/../.."
models="${1:?usage: tools/demo/tag_pictures.sh MODELS_FOLDER [OUTPUT_FOLDER [CHECKPOINT]]}"
output="${2:-docs/pictures}"
checkpoint="${3:-demo}"
mkdir -p "$output"
read -r -a flags <<<"${FLAGS:-}"

# sheet NAME TITLE PROMPT FLAGS…
sheet() {
  local name="$1" title="$2" prompt="$3"
  shift 3
  build/lorikeet plot --models "$models" -m "$checkpoint" -p "$prompt" --title "$title" -W "${width:-128}" -H 128 --steps 20 --seed 7 \
    "${flags[@]}" "$@" -o "$output/tag-$name.png"
}

sheet lbw "Block weights: <lora:neon:1:lbw=…>" "a red house at night <lora:neon:1:lbw={blocks}>" \
  --x "{blocks}=NONE,INS,IND,MIDD,OUTD,OUTS,ALL" --y "seed=7,8"

sheet steps "Steps: <lora:neon:1:…> of 20" "a red house at night <lora:neon:te=0:unet=1:{when}>" \
  --x "{when}=stop=1,stop=4,stop=0.5,start=1,start=4,start=0.5,step=5-10" --y "seed=7,8"

sheet curve "Multipliers over the steps: <lora:sketch:te=0:unet=…>" "a red house by the sea <lora:sketch:te=0:unet={curve}>" \
  --x '{curve}=0,1,"0@0,1@1","1@0,0@1","0@0.5,1@0.5","0@0,1@0.5,0@1"' --y "seed=7,8"

width=192 sheet region "Regions: two LoRAs, each in its part of one picture" "a red house by the sea {loras}" \
  --x '{loras}=" ",<lora:neon:te=0:unet=1:x=0-0.5>,<lora:sketch:te=0:unet=1:x=0.5-1>,<lora:neon:te=0:unet=1:x=0-0.5> <lora:sketch:te=0:unet=1:x=0.5-1>,<lora:blueprint:te=0:unet=1:y=0.5-1>,<lora:neon:te=0:unet=1> <lora:sketch:te=0:unet=1>' \
  --y "seed=7,8"

width=192 sheet region-robot "A subject in a part: <lora:robot:1:x=…>" "a sks robot in a meadow <lora:robot:te=0:unet=1:x={part}>" \
  --x "{part}=0-1,0-0.5,0.5-1" --y "seed=7,8"
