#include "generate/denoiser.h"

#include <map>

#include "base/error.h"
#include "sampling/guidance.h"

namespace lorikeet {

namespace {

// SDXL's micro-conditioning (Podell et al. 2023, sec. 2.2): original size, crop offset, target size. A1111's choice: no crop, all the same
// size.
Tensor time_ids(const ImageSize& size, int64_t rows, Device device) {
  const auto h = static_cast<float>(size.height_px), w = static_cast<float>(size.width_px);
  return torch::tensor({h, w, 0.0f, 0.0f, h, w}).to(device).unsqueeze(0).expand({rows, 6});
}

// On the CPU a picture at a time: a batch would be no faster, and each picture is then the very one that it would be alone.
int64_t pictures_at_once(const Tensor& x) { return x.device().is_cpu() ? 1 : x.size(0); }

}  // namespace

std::vector<Denoiser::Row> Denoiser::rows_at(int call, int64_t first, int64_t end) const {
  std::vector<Row> rows;
  for (int64_t p = first; p < end; ++p) {
    const auto& picture = inputs_.pictures[static_cast<size_t>(p)];
    for (const auto& part : picture.prompt->current(call)) rows.push_back({p, part.conditioning, part.weight, false});
    const bool unguided = inputs_.guidance.cfg_scale == 1 && picture.prompt->parts.size() == 1;
    if (!unguided) rows.push_back({p, picture.negative->current(call).front().conditioning, 1, true});
  }
  return rows;
}

// A merged run has one plan for all pictures; nothing is done where the set is the one that is merged already.
void Denoiser::merge_loras() {
  if (inputs_.pictures.empty() || !inputs_.pictures.front().loras->merged) return;
  const LoraSteps& loras = *inputs_.pictures.front().loras;
  if (calls_ == 0 || loras.sets.size() > 1) engine_.merge_loras(loras.at(step_), "unet.");
}

// The U-Net's estimate of the clean latent for each row; rows whose texts differ in length go in passes of their own. -> [rows, C, h, w]
Tensor Denoiser::evaluate(const std::vector<Row>& rows, const Tensor& x, double sigma) {
  const Prediction& prediction = engine_.prediction();
  const Tensor sigmas = torch::full({1}, sigma, x.options());
  std::map<int64_t, std::vector<size_t>> by_length;
  for (size_t i = 0; i < rows.size(); ++i) by_length[rows[i].conditioning.context.size(0)].push_back(i);
  std::vector<Tensor> results(rows.size());
  for (const auto& [length, members] : by_length) {
    std::vector<Tensor> inputs, contexts, pooled, images;
    std::vector<LoraSet> loras;
    for (const size_t i : members) {
      inputs.push_back(x[rows[i].picture]);
      contexts.push_back(rows[i].conditioning.context);
      if (engine_.spec().pooled) pooled.push_back(rows[i].conditioning.pooled);
      if (inputs_.image_channels.defined()) {
        images.push_back(inputs_.image_channels[inputs_.image_channels.size(0) == 1 ? 0 : rows[i].picture]);
      }
      const LoraSteps& plan = *inputs_.pictures[static_cast<size_t>(rows[i].picture)].loras;
      if (!plan.merged) loras.push_back(plan.at(step_));
    }
    if (!loras.empty()) engine_.lora_applier().attach(loras, "unet.");
    const auto count = static_cast<int64_t>(members.size());
    const Tensor stacked = torch::stack(inputs);
    UNetInput input;
    input.x = stacked * per_picture(prediction.input_scale(sigmas), stacked);
    if (!images.empty()) input.x = torch::cat({input.x, torch::stack(images).to(x.device())}, 1);
    input.timestep = torch::full({count}, engine_.noise_schedule().timestep(static_cast<float>(sigma)), x.options());
    input.context = torch::stack(contexts).to(x.device());
    if (!pooled.empty()) {
      input.pooled = torch::stack(pooled).to(x.device());
      input.time_ids = time_ids(inputs_.size, count, x.device());
    }
    const Tensor x0 = prediction.to_x0(stacked, engine_.unet().forward(input).to(torch::kFloat), sigmas);
    for (int64_t k = 0; k < count; ++k) results[members[static_cast<size_t>(k)]] = x0[k];
  }
  return torch::stack(results);
}

Denoised Denoiser::denoise(const Tensor& x, double sigma, int64_t first, int64_t end) {
  const auto rows = rows_at(calls_, first, end);
  const Tensor estimates = evaluate(rows, x, sigma);
  std::vector<Tensor> positive, bases(static_cast<size_t>(end - first));
  std::vector<GuidedPart> parts;
  for (size_t i = 0; i < rows.size(); ++i) {
    Tensor& base = bases[static_cast<size_t>(rows[i].picture - first)];
    const Tensor estimate = estimates[static_cast<int64_t>(i)];
    if (rows[i].negative || !base.defined()) base = estimate;  // the only row of an unguided picture is its own base
    if (rows[i].negative) continue;
    positive.push_back(estimate);
    parts.push_back({rows[i].picture - first, rows[i].weight});
  }
  const Tensor cond = torch::stack(positive);
  const Tensor uncond = torch::stack(bases);
  Tensor x0 = guide(uncond, cond, parts, inputs_.guidance.cfg_scale);
  if (inputs_.guidance.rescale > 0) {
    Tensor mean = torch::zeros_like(x0);  // of the weighted parts: what the spread is brought back to
    for (size_t i = 0; i < parts.size(); ++i)
      mean[parts[i].picture] += (cond[static_cast<int64_t>(i)] - uncond[parts[i].picture]) * parts[i].weight;
    x0 = rescale_guidance(x0, uncond + mean, inputs_.guidance.rescale);
  }
  return {x0, uncond};
}

Denoised Denoiser::operator()(const Tensor& x, double sigma) {
  torch::NoGradGuard no_grad;
  merge_loras();
  std::vector<Tensor> x0, uncond;
  for (int64_t first = 0; first < x.size(0);) {
    const int64_t end = std::min(x.size(0), first + pictures_at_once(x));
    const Denoised part = denoise(x, sigma, first, end);
    x0.push_back(part.x0);
    uncond.push_back(part.x0_uncond);
    first = end;
  }
  ++calls_;
  Denoised all{torch::cat(x0), torch::cat(uncond)};
  if (!torch::isfinite(all.x0).all().item<bool>()) {
    throw Error(ErrorKind::internal, "the U-Net's output is NaN or infinite at sigma " + std::to_string(sigma),
                "the checkpoint or a LoRA holds broken weights, or a multiplier is far too large; --precision f32 rules out an overflow");
  }
  if (inputs_.repaint.defined()) all.x0 = all.x0 * inputs_.repaint + inputs_.keep * (1 - inputs_.repaint);
  return all;
}

}  // namespace lorikeet
