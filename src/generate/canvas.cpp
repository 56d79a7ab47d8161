#include "generate/canvas.h"

#include "base/error.h"
#include "generate/latents.h"

namespace lorikeet {

namespace {

// The mask at latent size, 0 or 1 (A1111's "mask round").
Tensor latent_mask(const Tensor& mask, int width_px, int height_px) {
  return resize(mask, width_px / 8, height_px / 8, Resampling::bicubic).round().unsqueeze(0);
}

// Mask and the latent of the picture with the masked part grey, as the inpainting checkpoints were trained
// (Rombach et al. 2022, latent-diffusion's inpainting configuration).
Tensor make_image_channels(const Vae& vae, const ModelSpec& spec, const Tensor& image, const Tensor& mask) {
  const Tensor grey = torch::full_like(image, 0.5);
  const Tensor hard = mask.round();
  const Tensor latent = encode_image(vae, spec.latent, image * (1 - hard) + grey * hard);
  const Tensor small = torch::upsample_nearest2d(hard.unsqueeze(0), torch::IntArrayRef{latent.size(2), latent.size(3)});
  return torch::cat({small, latent}, 1);
}

Tensor load_mask(const Request& request, const Tensor& image) {
  Tensor mask = mask_of(*request.mask_image.load());
  if (request.inpainting_mask_invert) mask = 1 - mask;
  if (mask.sizes().slice(1) != image.sizes().slice(1)) {
    mask = resize(mask, static_cast<int>(image.size(2)), static_cast<int>(image.size(1)), Resampling::nearest);
  }
  return blur(mask, request.mask_blur);
}

}  // namespace

Tensor empty_image_channels(const Vae& vae, const ModelSpec& spec, ImageSize size) {
  return make_image_channels(vae, spec, torch::full({3, size.height_px, size.width_px}, 0.5), torch::ones({1, size.height_px, size.width_px}));
}

Canvas make_canvas(Engine& engine, const Vae& vae, const Request& request) {
  torch::NoGradGuard no_grad;
  Canvas canvas;
  const ModelSpec& spec = engine.spec();
  if (request.init_image.empty()) {
    if (!request.mask_image.empty()) {
      throw Error(ErrorKind::bad_input, "there is a mask but no picture to paint into", "give the picture with --init-image");
    }
    if (spec.inpainting()) canvas.image_channels = empty_image_channels(vae, spec, {request.width, request.height});
    return canvas;
  }
  Tensor image = image_of(*request.init_image.load());
  Tensor mask;
  if (!request.mask_image.empty()) {
    const bool only_masked = request.inpaint_full_res;
    if (!only_masked) image = resize(image, request.width, request.height, request.resize_mode);
    mask = load_mask(request, image);
    canvas.original = image;
    canvas.mask = mask;
    canvas.box = {0, 0, static_cast<int>(image.size(2)), static_cast<int>(image.size(1))};
    if (only_masked) canvas.box = masked_box(mask, request.inpaint_full_res_padding, request.width, request.height);
    image = resize(crop(image, canvas.box), request.width, request.height);
    mask = resize(crop(mask, canvas.box), request.width, request.height);
    if (request.inpainting_fill == InpaintingFill::fill) image = fill_masked(image, mask.gt(0).to(torch::kFloat));
    canvas.repaint = latent_mask(mask, request.width, request.height);
  }
  if (request.resize_mode == ResizeMode::latent && !mask.defined()) {
    const auto whole = [](int64_t px) { return static_cast<int>(px / 8 * 8); };
    const Tensor own = resize(image, whole(image.size(2)), whole(image.size(1)), ResizeMode::crop);
    canvas.init = upscale_latent(encode_image(vae, spec.latent, own), request.width, request.height, HrUpscaler::latent);
  } else {
    image = resize(image, request.width, request.height, request.resize_mode);
    canvas.init = encode_image(vae, spec.latent, image);
  }
  if (spec.inpainting()) {
    canvas.image_channels = mask.defined() ? make_image_channels(vae, spec, image, mask)
                                           : make_image_channels(vae, spec, resize(image, request.width, request.height),
                                                                 torch::ones({1, request.height, request.width}));
  }
  return canvas;
}

Tensor Canvas::finished(const Tensor& painted) const { return mask.defined() ? paste(original, painted, mask, box) : painted; }

Tensor filled_init(const Canvas& canvas, InpaintingFill fill, const Tensor& noise) {
  if (!canvas.repaint.defined()) return canvas.init;
  if (fill == InpaintingFill::latent_noise) return canvas.init * (1 - canvas.repaint) + noise * canvas.repaint;
  if (fill == InpaintingFill::latent_nothing) return canvas.init * (1 - canvas.repaint);
  return canvas.init;
}

}  // namespace lorikeet
