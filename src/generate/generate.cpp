// From a request to pictures:
//   prompts -> text without tags, LoRA files;  LoRAs -> merged into the U-Net or attached beside it;  text -> conditioning;
//   noise (and an init image) -> start latent;  sampler -> latent;  autoencoder -> picture with infotext.
#include "generate/generate.h"

#include <chrono>
#include <optional>
#include <utility>

#include "base/error.h"
#include "generate/canvas.h"
#include "generate/denoiser.h"
#include "generate/engine.h"
#include "generate/infotext.h"
#include "generate/latents.h"
#include "generate/prompts.h"
#include "sampling/noise.h"
#include "sampling/run_plan.h"

namespace lorikeet {

namespace {

// One picture to make.
struct Job {
  size_t prompt;
  int64_t seed, subseed;
};
using Batch = std::vector<Job>;

struct Pass {
  const Sampler& sampler;
  RunPlan plan;
  ImageSize size;
  double cfg_scale;
  PassSteps steps;
  bool hires = false;

  int count() const { return static_cast<int>(plan.sigmas.size()) - 1; }
};

// A pass and, for each prompt of the request, the LoRAs in it.
struct PlannedPass {
  Pass pass;
  std::vector<std::shared_ptr<const LoraSteps>> loras;
};

// What stays the same during a call.
struct Call {
  Engine& engine;
  const Request& request;
  const Vae& vae;
  Progress& progress;
  std::span<const PictureSeeds> seeds;  // empty: counted up from the request's
  Canvas canvas;
  std::vector<ResolvedPrompt> prompts, hr_prompts;
  std::optional<PlannedPass> first, second;  // second: with hires fix
};

Request completed(const Request& asked, const ModelSpec& spec) {
  Request request = asked;
  for (int* side : {&request.width, &request.height}) *side = static_cast<int>(spec.side_px(*side));
  validate(request);
  if (request.seed < 0) request.seed = random_seed();
  if (request.subseed < 0) request.subseed = random_seed();
  return request;
}

std::vector<ResolvedPrompt> resolve(Engine& engine, const Request& request, bool hires, GenerateResult& result) {
  std::vector<ResolvedPrompt> resolved;
  for (const auto& prompt : request.prompts) {
    resolved.push_back(resolve_prompt(engine, hires && !request.hr_prompt.empty() ? request.hr_prompt : prompt, request, result));
  }
  return resolved;
}

// All that is read of the prompts.
std::vector<std::string> texts_of(const Call& call) {
  std::vector<std::string> texts{call.request.negative_prompt, call.request.hr_negative_prompt};
  for (const auto* prompts : {&call.prompts, &call.hr_prompts}) {
    for (const auto& prompt : *prompts) texts.push_back(prompt.text);
  }
  return texts;
}

int calls_a_step(const std::string& sampler) { return find_sampler(sampler).second_order ? 2 : 1; }
int hires_steps(const Request& r) { return r.hr_second_pass_steps ? r.hr_second_pass_steps : r.steps; }
const std::string& hires_sampler(const Request& r) { return r.hr_sampler.empty() ? r.sampler : r.hr_sampler; }

// Two prompts can share a batch: their LoRAs go on in the same way in each pass, and where they are merged they are the same.
bool fit_together(const Call& call, size_t p, size_t other) {
  const auto fit = [&](const std::optional<PlannedPass>& pass) {
    if (!pass) return true;
    const LoraSteps &a = *pass->loras[p], &b = *pass->loras[other];
    return a.merged == b.merged && (!a.merged || a.same_as(b));
  };
  return fit(call.first) && fit(call.second);
}

// The pictures in their order, in batches.
std::vector<Batch> plan_batches(const Call& call) {
  std::vector<Batch> batches;
  int64_t index = 0;
  for (int n = 0; n < call.request.n_iter; ++n) {
    batches.emplace_back();
    for (size_t p = 0; p < call.request.prompts.size(); ++p) {
      if (!batches.back().empty() && !fit_together(call, p, batches.back().front().prompt)) batches.emplace_back();
      for (int i = 0; i < call.request.batch_size; ++i, ++index) {
        const PictureSeeds counted{call.request.seed + index, call.request.subseed + index};
        const PictureSeeds& seeds = call.seeds.empty() ? counted : call.seeds[static_cast<size_t>(index)];
        batches.back().push_back({p, seeds.seed, seeds.subseed});
      }
    }
  }
  return batches;
}

PictureNoise make_noise(const Call& call, const Batch& batch, ImageSize size) {
  const Request& r = call.request;
  NoiseSettings settings{.source = &find_random_source(choices(r.rng)[static_cast<size_t>(r.rng)].name),
                         .subseed_strength = r.subseed_strength,
                         .seed_resize_width_px = r.seed_resize_from_w,
                         .seed_resize_height_px = r.seed_resize_from_h,
                         .eta_noise_seed_delta = r.ensd};
  for (const Job& job : batch) {
    settings.seeds.push_back(static_cast<uint64_t>(job.seed));
    settings.subseeds.push_back(static_cast<uint64_t>(job.subseed));
  }
  const auto channels = call.engine.spec().vae.latent_channels;
  return PictureNoise(settings, {channels, size.height_px / 8, size.width_px / 8}, call.engine.unet().compute().device);
}

// A1111's s_noise: all noise behind the first is made stronger or weaker.
class ScaledNoise : public Noise {
 public:
  ScaledNoise(Noise& inner, double scale) : inner_(inner), scale_(scale) {}
  Tensor next() override { return inner_.next() * scale_; }
  Tensor between(double sigma, double sigma_next) override { return inner_.between(sigma, sigma_next) * scale_; }
  void prepare_between(std::span<const double> sigmas) override { inner_.prepare_between(sigmas); }

 private:
  Noise& inner_;
  double scale_;
};

// Tells the denoiser which step the sampler is at; all else goes on to whoever watches.
class PassProgress : public Progress {
 public:
  PassProgress(Progress& outer, Denoiser& denoiser) : outer_(outer), denoiser_(denoiser) {}
  void step(int done) override {
    denoiser_.begin_step(done);
    outer_.step(done);
    relay();
  }
  bool wants_preview() const override { return outer_.wants_preview(); }
  void preview(const Tensor& x0) override { outer_.preview(x0); }
  void relay() {
    if (outer_.cancelled()) cancel();
  }

 private:
  Progress& outer_;
  Denoiser& denoiser_;
};

// By prompt: what its infotext lists.
using UsedEmbeddings = std::map<size_t, NamedHashes>;

// Puts the LoRAs on, encodes the texts and runs the sampler from `init` (undefined: from noise alone). -> [B, C, h, w] on the CPU
Tensor run_pass(Call& call, const Batch& batch, const PlannedPass& planned, const std::vector<ResolvedPrompt>& prompts,
                const std::string& negative, const Tensor& init, bool use_canvas, UsedEmbeddings& used) {
  Engine& engine = call.engine;
  const Request& request = call.request;
  const Pass& pass = planned.pass;
  DenoiserInputs inputs{.guidance = {pass.cfg_scale, request.cfg_rescale}, .size = pass.size};
  std::map<size_t, PicturePrompts> encoded;
  call.progress.stage("encoding", 0);
  for (const Job& job : batch) {
    auto [place, is_new] = encoded.try_emplace(job.prompt);
    if (is_new)
      place->second = encode_prompts(engine, prompts[job.prompt], negative, pass.steps, request, planned.loras[job.prompt], used[job.prompt]);
    inputs.pictures.push_back(place->second);
  }
  const LoraSteps& loras = *planned.loras[batch.front().prompt];
  if (loras.merged) engine.merge_loras(loras.at(0), "unet.");

  PictureNoise noise = make_noise(call, batch, pass.size);
  const Device device = engine.unet().compute().device;
  const Tensor first = noise.next();
  Tensor begin = init.defined() ? init.to(device) : init;
  if (use_canvas && call.canvas.img2img()) {
    begin = filled_init(call.canvas, request.inpainting_fill, first.to(torch::kCPU)).to(device);
    if (call.canvas.repaint.defined()) {
      inputs.keep = begin;
      inputs.repaint = call.canvas.repaint.to(device);
    }
  }
  if (engine.spec().inpainting()) {
    inputs.image_channels = use_canvas ? call.canvas.image_channels : empty_image_channels(call.vae, engine.spec(), pass.size);
  }

  Denoiser denoiser(engine, std::move(inputs));
  PassProgress progress(call.progress, denoiser);
  const Denoise denoise = [&](const Tensor& x, double sigma) {
    Denoised result = denoiser(x, sigma);
    progress.relay();
    return result;
  };
  call.progress.stage("sampling", pass.count());
  progress.relay();
  ScaledNoise scaled(noise, request.s_noise);
  const SampleRun run{denoise, pass.plan.sigmas, scaled, progress, request.eta.value_or(pass.sampler.default_eta),
                      {request.s_churn, request.s_tmin, request.s_tmax.value_or(std::numeric_limits<double>::infinity())}};
  const Tensor x = pass.sampler.sample(run, start(pass.sampler, pass.plan, first, begin));
  return finish(pass.sampler, pass.plan, x).to(torch::kCPU);
}

ScheduleRange schedule_range(const Engine& engine) { return range_of(engine.noise_schedule(), engine.spec().xl_steps); }

Pass plan_first(const Engine& engine, const Request& r, bool img2img) {
  const Sampler& sampler = find_sampler(r.sampler);
  const Schedule& schedule = find_schedule(r.schedule);
  const ScheduleRange range = schedule_range(engine);
  return {sampler, img2img ? plan_img2img(sampler, schedule, r.steps, r.denoising_strength, range) : plan_run(sampler, schedule, r.steps, range),
          {r.width, r.height}, r.cfg_scale, {r.steps * calls_a_step(r.sampler), {}}};
}

Tensor first_pass(Call& call, const Batch& batch, UsedEmbeddings& used) {
  return run_pass(call, batch, *call.first, call.prompts, call.request.negative_prompt, {}, true, used);
}

// What hires fix enlarges to, and what is left of it: with both sides given, what stands out is cut off (A1111's rule).
struct HiresSize {
  int width, height;              // enlarged, multiples of 8
  int final_width, final_height;  // after cutting
};

HiresSize hires_size(const Request& r) {
  const auto whole = [](double px) { return std::max(8, static_cast<int>(px) / 8 * 8); };
  if (r.hr_resize_x == 0 && r.hr_resize_y == 0) {
    const int width = whole(r.width * r.hr_scale), height = whole(r.height * r.hr_scale);
    return {width, height, width, height};
  }
  const double ratio = static_cast<double>(r.width) / r.height;
  const int x = r.hr_resize_x ? r.hr_resize_x : whole(r.hr_resize_y * ratio), y = r.hr_resize_y ? r.hr_resize_y : whole(r.hr_resize_x / ratio);
  const bool by_width = static_cast<double>(x) / y > ratio;
  const int width = by_width ? x : std::max(x, whole(y * ratio)), height = by_width ? std::max(y, whole(x / ratio)) : y;
  return {width, height, x, y};
}

Pass plan_second(const Engine& engine, const Request& r) {
  const Sampler& sampler = find_sampler(hires_sampler(r));
  const Schedule& schedule = find_schedule(r.hr_schedule.empty() ? r.schedule : r.hr_schedule);
  const HiresSize size = hires_size(r);
  const int steps = hires_steps(r);
  return {sampler, plan_hires(sampler, schedule, steps, r.denoising_strength, schedule_range(engine)), {size.final_width, size.final_height},
          r.hr_cfg > 0 ? r.hr_cfg : r.cfg_scale, {r.steps * calls_a_step(r.sampler), steps * calls_a_step(hires_sampler(r))}, true};
}

// [1, C, h, w] -> the middle of it
Tensor cut(const Tensor& latent, int width_px, int height_px) {
  const int64_t top = (latent.size(2) - height_px / 8) / 2, left = (latent.size(3) - width_px / 8) / 2;
  return latent.slice(2, top, top + height_px / 8).slice(3, left, left + width_px / 8);
}

// Hires fix: enlarge, then paint again from part of the noise.
Tensor second_pass(Call& call, const Batch& batch, const Tensor& latents, UsedEmbeddings& used) {
  const Request& r = call.request;
  const auto [width, height, final_width, final_height] = hires_size(r);
  std::vector<Tensor> enlarged;
  for (int64_t i = 0; i < latents.size(0); ++i) {
    const Tensor latent = latents.slice(0, i, i + 1);
    if (is_latent(r.hr_upscaler)) {
      enlarged.push_back(upscale_latent(latent, width, height, r.hr_upscaler));
      continue;
    }
    const Tensor image = decode_latent(call.vae, call.engine.spec().latent, latent, r.vae_tiling, call.progress);
    const auto resampling = r.hr_upscaler == HrUpscaler::nearest ? Resampling::nearest : Resampling::lanczos;
    enlarged.push_back(encode_image(call.vae, call.engine.spec().latent, resize(image, width, height, resampling)));
  }
  return run_pass(call, batch, *call.second, call.hr_prompts, r.hr_negative_prompt.empty() ? r.negative_prompt : r.hr_negative_prompt,
                  cut(torch::cat(enlarged), final_width, final_height), false, used);
}

// Settles what the LoRAs of each prompt do at each step of the pass.
PlannedPass with_loras(const Call& call, Pass pass, const std::vector<ResolvedPrompt>& prompts, GenerateResult& result) {
  const int rows = pass.cfg_scale == 1 ? 1 : 2, calls = pass.sampler.second_order ? 2 : 1;
  const PassFacts facts{pass.count(), pass.size, pass.hires, pass.count() * calls * rows};
  std::vector<LoraSteps> plans;
  for (const ResolvedPrompt& prompt : prompts) {
    plans.push_back(plan_loras(prompt.loras, facts));
    for (const std::string& note : plans.back().notes) warn(result, note);
  }
  const bool on_cpu = call.engine.unet().compute().device.is_cpu();
  choose_ways(plans, facts, call.request.lora_apply, on_cpu, batch_pictures(call.request));
  PlannedPass planned{std::move(pass), {}};
  for (LoraSteps& plan : plans) planned.loras.push_back(std::make_shared<const LoraSteps>(std::move(plan)));
  return planned;
}

GeneratedPicture finished_picture(Call& call, const Job& job, const Tensor& latent, const NamedHashes& used_embeddings) {
  const Tensor painted = decode_latent(call.vae, call.engine.spec().latent, latent, call.request.vae_tiling, call.progress);
  InfotextFacts facts{.seed = job.seed, .subseed = job.subseed, .prompt = job.prompt};
  facts.model = call.engine.checkpoint().path().stem().string();
  facts.model_hash = call.engine.model_hash();
  facts.vae = call.engine.vae_name(call.request.vae);
  facts.vae_hash = call.engine.vae_hash(call.request.vae);
  facts.lora_hashes = call.prompts[job.prompt].lora_hashes;
  if (call.request.enable_hr) {
    for (const auto& hash : call.hr_prompts[job.prompt].lora_hashes) {
      if (std::find(facts.lora_hashes.begin(), facts.lora_hashes.end(), hash) == facts.lora_hashes.end()) facts.lora_hashes.push_back(hash);
    }
  }
  facts.ti_hashes = used_embeddings;
  return {picture_of(call.canvas.finished(painted)), write_infotext(call.request, facts), job.seed};
}

}  // namespace

GenerateResult generate(Engine& engine, const Request& request, Progress& progress) { return generate(engine, request, {}, progress); }

GenerateResult generate(Engine& engine, const Request& asked, std::span<const PictureSeeds> seeds, Progress& progress) {
  torch::NoGradGuard no_grad;
  const auto begin = std::chrono::steady_clock::now();
  GenerateResult result;
  const Request request = completed(asked, engine.spec());
  if (!seeds.empty() && std::cmp_not_equal(seeds.size(), all_pictures(request)))
    throw Error(ErrorKind::internal, std::to_string(seeds.size()) + " seeds for " + std::to_string(all_pictures(request)) + " pictures");
  engine.set_tiling(request.tiling);

  const Vae& vae = engine.vae(request.vae);
  Call call{engine, request, vae, progress, seeds, {}, resolve(engine, request, false, result), {}, {}, {}};
  call.hr_prompts = request.enable_hr && !request.hr_prompt.empty() ? resolve(engine, request, true, result) : call.prompts;
  call.canvas = make_canvas(engine, vae, request);
  call.first.emplace(with_loras(call, plan_first(engine, request, call.canvas.img2img()), call.prompts, result));
  if (request.enable_hr) call.second.emplace(with_loras(call, plan_second(engine, request), call.hr_prompts, result));
  warn_of_embeddings(engine, texts_of(call), result);

  for (const Batch& batch : plan_batches(call)) {
    progress.check();
    UsedEmbeddings used_embeddings;
    Tensor latents = first_pass(call, batch, used_embeddings);
    if (request.enable_hr) latents = second_pass(call, batch, latents, used_embeddings);
    for (size_t i = 0; i < batch.size(); ++i) {
      progress.check();
      const auto row = static_cast<int64_t>(i);
      result.pictures.push_back(finished_picture(call, batch[i], latents.slice(0, row, row + 1), used_embeddings[batch[i].prompt]));
    }
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace lorikeet
