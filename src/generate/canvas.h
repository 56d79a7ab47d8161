// What img2img and inpainting start from, made once for all pictures of a call.
#pragma once
#include "generate/engine.h"
#include "generate/pixels.h"
#include "generate/request.h"

namespace lorikeet {

struct Canvas {
  Tensor init;            // [1, C, h, w] scaled latent of the init image; undefined: txt2img
  Tensor repaint;         // [1, 1, h, w], 1 where the picture is painted anew; undefined: everywhere
  Tensor image_channels;  // [1, 5, h, w] for inpainting checkpoints, else undefined
  // For putting the painted part back into the init image; undefined without a mask.
  Tensor original, mask;  // [3, H, W], [1, H, W] of the init image's (resized) size
  Box box;                // the part of it that was painted

  bool img2img() const { return init.defined(); }
  Tensor finished(const Tensor& painted) const;  // [3, H, W] as decoded -> as returned to the person
};

Canvas make_canvas(Engine& engine, const Vae& vae, const Request& request);

// The init latent of each picture: A1111's "latent noise" and "latent nothing" change the masked part of it. noise: [B, C, h, w]
Tensor filled_init(const Canvas& canvas, InpaintingFill fill, const Tensor& noise);

// The extra channels of an inpainting checkpoint for a picture of this size where nothing is given: all of it is to be painted.
Tensor empty_image_channels(const Vae& vae, const ModelSpec& spec, ImageSize size);

}  // namespace lorikeet
