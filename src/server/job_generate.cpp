// Jobs of the kind "generate": a request in fields()' names -> generate() -> pictures in the outputs folder. One call for each batch, so
// that what is finished is safe and seen before the next begins.
#include <algorithm>
#include <random>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "generate/engine.h"
#include "generate/generate.h"
#include "generate/latents.h"
#include "generate/pixels.h"
#include "generate/report.h"
#include "prompt/extra_networks.h"
#include "prompt/lora_tag.h"
#include "server/app.h"
#include "server/job_kinds.h"
#include "server/job_progress.h"
#include "server/problem.h"
#include "server/uploads.h"

namespace lorikeet {

namespace {
using nlohmann::json;

constexpr int kLargestNativePx = 1024;                        // where the checkpoint, which is not open yet, decides: SDXL's
constexpr int64_t kMostBatchPixels = int64_t{1} << 26;  // of all pictures of a batch: 256 of 512 × 512
constexpr int64_t kMostPictures = 1000;                 // of a job

void check_pictures(const json& request) {
  for (const char* field : {"init_image", "mask_image"}) {
    const auto value = request.find(field);
    if (value == request.end() || value->is_null() || *value == "") continue;
    if (!value->is_string())
      throw Error(ErrorKind::bad_input, "\"" + std::string(field) + "\" wants a picture as \"data:image/png;base64,…\"");
    upload_bytes(value->get_ref<const std::string&>(), field);
  }
}

// Bare base64 becomes a data URI: a text of another form would be read as a path.
void make_data_uris(json& request) {
  for (const char* field : {"init_image", "mask_image"}) {
    const auto value = request.find(field);
    if (value == request.end() || !value->is_string() || *value == "") continue;
    const auto& text = value->get_ref<const std::string&>();
    if (!starts_with(lower(text.substr(0, 5)), "data:")) *value = "data:image/png;base64," + text;
  }
}

void check_size(const Request& request) {
  const double scale = request.enable_hr ? std::max(request.hr_scale, 1.0) : 1.0;
  const auto side = [](int px) { return px > 0 ? px : kLargestNativePx; };
  double pixels = static_cast<double>(side(request.width)) * side(request.height) * scale * scale;
  if (request.enable_hr) pixels = std::max(pixels, static_cast<double>(request.hr_resize_x) * request.hr_resize_y);
  if (pixels * batch_pictures(request) > static_cast<double>(kMostBatchPixels))
    throw Error(ErrorKind::bad_input,
                "a batch of " + std::to_string(batch_pictures(request)) + " pictures of this size is too large for this server",
                "choose a smaller size or batch_size; at most " + std::to_string(kMostBatchPixels >> 20) + " million pixels together");
  if (all_pictures(request) > kMostPictures)
    throw Error(ErrorKind::bad_input, "that would be " + std::to_string(all_pictures(request)) + " pictures",
                "a job makes at most " + std::to_string(kMostPictures));
}

// Jobs that differ in these only can be made together, each picture with its own prompt, LoRAs and seeds.
std::string batch_key(json request, const Request& read) {
  if (read.n_iter != 1 || !read.init_image.empty()) return "";
  for (const char* own : {"prompt", "seed", "subseed"}) request.erase(own);
  return dump(request);
}

std::string title_of(const Request& request) {
  const std::string prompt(trim(request.prompts.front()));
  if (prompt.empty()) return "a picture without a prompt";
  return prompt.size() <= 80 ? prompt : valid_utf8(prompt.substr(0, 78)) + "…";
}

std::vector<PictureSeeds> seeds_of(const Job& job, const Request& request, int part) {
  std::vector<PictureSeeds> seeds;
  const int count = batch_pictures(request);
  for (int64_t i = int64_t{part} * count; i < int64_t{part + 1} * count; ++i) seeds.push_back({job.seed + i, job.subseed + i});
  return seeds;
}

void add_new(std::vector<std::string>& to, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    const std::string shown = without_folders(line);
    if (std::ranges::find(to, shown) == to.end()) to.push_back(shown);
  }
}

// One picture into the outputs folder, into the job's result, and to whoever waits for it.
void hand_out(App& app, Job& job, const Request& request, const GeneratedPicture& made) {
  const auto bytes = encode_picture(request.format, made.picture, {{"parameters", made.infotext}}, request.quality);
  std::string file(bytes.begin(), bytes.end());
  if (job.saves) {
    const std::string id = app.outputs.save(request.format, file, made.seed);
    job.result["pictures"].push_back(picture_json(id, made.picture.width_px, made.picture.height_px, made.seed, made.infotext));
  }
  app.metrics.pictures.fetch_add(1);
  if (!job.delivery) return;
  const std::lock_guard lock(job.delivery->mutex);
  job.delivery->pictures.push_back(
      {std::move(file), made.infotext, made.seed, job.subseed + (made.seed - job.seed), made.picture.width_px, made.picture.height_px});
}

// The files that a job's own tags name; of several jobs made together each is told of its own.
std::set<std::string> lora_files(App& app, const Request& request) {
  std::set<std::string> files;
  std::vector<std::string> prompts = request.prompts;
  prompts.push_back(request.hr_prompt);
  for (const std::string& prompt : prompts)
    for (const ExtraNetworkTag& tag : take_extra_networks(prompt).tags)
      if (tag.is_lora()) files.insert(app.options.folders.find(ModelKind::lora, parse_lora_tag(tag).name).file.path.string());
  return files;
}

void add_reports(Job& job, const GenerateResult& made) {
  add_new(job.warnings, made.warnings);
  if (!made.loras.empty()) job.result["loras"] = loras_json(made.loras);
  job.result["seconds"] = job.result.value("seconds", 0.0) + made.seconds;
  if (!job.delivery) return;
  const std::lock_guard lock(job.delivery->mutex);
  job.delivery->loras = job.result.value("loras", json::array());
}

int stages_of(const Request& request, bool apart) {
  return (request.enable_hr ? 2 : 1) * (apart ? static_cast<int>(request.prompts.size()) : 1);
}

int preview_steps(App& app) {
  const json settings = app.settings.all();
  return settings["live_previews_enable"] == false ? 0 : static_cast<int>(settings["show_progress_every_n_steps"].get<double>());
}

// What an interrupt (A1111's word: give what there is) caught on the way, as a picture.
std::optional<GeneratedPicture> unfinished(JobRun& run, Engine& engine, const Job& job, const Request& request) {
  const Tensor latent = run.progress() ? run.progress()->latest() : Tensor();
  if (!latent.defined() || !job.delivery) return std::nullopt;
  torch::NoGradGuard no_grad;
  Progress quiet;
  const Tensor image = decode_latent(engine.vae(request.vae), engine.spec().latent, latent.slice(0, 0, 1).to(torch::kCPU, torch::kFloat),
                                     request.vae_tiling, quiet);
  return GeneratedPicture{picture_of(image), "", job.seed};
}

void run_alone(JobRun& run, Job& job) {
  Request request = read_generate_request(run.app, job.request);
  Engine& engine = run.engine(job.request.value("checkpoint", ""));
  const int parts = std::exchange(request.n_iter, 1);
  const auto done = static_cast<int>(job.result.value("parts_done", 0));  // before the program was ended
  if (!job.result.contains("pictures")) job.result["pictures"] = json::array();
  for (int part = done; part < parts; ++part) {
    try {
      JobProgress& progress = run.begin(part, parts, stages_of(request, false));
      progress.preview_with(engine, preview_steps(run.app));
      const GenerateResult made = generate(engine, request, seeds_of(job, request, part), progress);
      add_reports(job, made);
      for (const GeneratedPicture& picture : made.pictures) hand_out(run.app, job, request, picture);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::cancelled) throw;
      const Ask asked = run.asked();
      if (asked == Ask::interrupt)
        if (const auto picture = unfinished(run, engine, job, request)) hand_out(run.app, job, request, *picture);
      if (asked != Ask::skip) throw;
      run.forget_skip();
      add_new(job.warnings, {"batch " + std::to_string(part + 1) + " of " + std::to_string(parts) + " was skipped"});
    }
    job.result["parts_done"] = part + 1;
    run.save(job);
  }
}

// Several jobs in one call of generate().
void run_together(JobRun& run) {
  std::vector<Request> requests;
  Request all;
  std::vector<PictureSeeds> seeds;
  for (const Job& job : run.jobs) {
    requests.push_back(read_generate_request(run.app, job.request));
    if (requests.size() == 1) {
      all = requests[0];
      all.prompts.clear();
    }
    all.prompts.insert(all.prompts.end(), requests.back().prompts.begin(), requests.back().prompts.end());
    const auto own = seeds_of(job, requests.back(), 0);
    seeds.insert(seeds.end(), own.begin(), own.end());
  }
  all.seed = all.subseed = 0;  // each picture has its own
  Engine& engine = run.engine(run.jobs[0].request.value("checkpoint", ""));
  JobProgress& progress = run.begin(0, 1, stages_of(all, true));
  progress.preview_with(engine, preview_steps(run.app));
  const GenerateResult made = generate(engine, all, seeds, progress);
  size_t next = 0;
  for (size_t i = 0; i < run.jobs.size(); ++i) {
    Job& job = run.jobs[i];
    job.result["pictures"] = json::array();
    GenerateResult own{.pictures = {}, .loras = made.loras, .warnings = made.warnings, .seconds = made.seconds};
    std::erase_if(own.loras, [files = lora_files(run.app, requests[i])](const LoraReport& lora) { return !files.contains(lora.path); });
    add_reports(job, own);
    for (int k = 0; k < batch_pictures(requests[i]); ++k) hand_out(run.app, job, requests[i], made.pictures[next++]);
    run.end(job);
  }
}
}  // namespace

int64_t drawn_seed(int64_t asked) {
  if (asked >= 0) return asked;
  std::random_device device;
  return static_cast<int64_t>(device());
}

std::string take_checkpoint(App& app, json& request) {
  std::string wanted;
  if (const auto found = request.find("checkpoint"); found != request.end()) {
    if (!found->is_string() && !found->is_null()) throw Error(ErrorKind::bad_input, "\"checkpoint\" wants a name, not " + dump(*found));
    if (found->is_string()) wanted = found->get<std::string>();
    request.erase(found);
  }
  return wanted.empty() ? app.chosen_checkpoint() : app.checkpoint_named(wanted);
}

Request read_generate_request(App& app, const json& asked) {
  if (!asked.is_object()) throw Error(ErrorKind::bad_input, "the request of a job is a JSON object, {\"prompt\": …}");
  json fields = asked;
  fields.erase("checkpoint");
  make_data_uris(fields);
  Request request = request_from_json(fields);
  validate(request);
  check_size(request);
  const std::string vae = lower(request.vae);
  if (vae == "automatic" || vae == "none") request.vae.clear();
  if (!request.vae.empty()) request.vae = app.options.folders.find(ModelKind::vae, request.vae).file.path.string();
  return request;
}

json loras_json(const std::vector<LoraReport>& loras) {
  json list = json::array();
  for (const LoraReport& lora : loras)
    list.push_back(
        {{"name", lora.name}, {"matched", lora.matched}, {"total", lora.total}, {"family", lora.family}, {"message", line_of(lora)}});
  return list;
}

json picture_json(const std::string& id, int width_px, int height_px, int64_t seed, const std::string& infotext) {
  const std::string url = "/api/v1/pictures/file?id=" + url_encoded(id);
  return {{"id", id},     {"url", url},          {"thumb_url", url + "&width=256"}, {"width", width_px}, {"height", height_px},
          {"seed", seed}, {"infotext", infotext}};
}

json keep_picture(App& app, const Picture& picture, const std::string& infotext, int64_t seed, PictureFormat format, int quality) {
  const auto bytes = encode_picture(format, picture, {{"parameters", infotext}}, quality);
  app.metrics.pictures.fetch_add(1);
  const std::string id = app.outputs.save(format, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), seed);
  return picture_json(id, picture.width_px, picture.height_px, seed, infotext);
}

void check_generate_job(App& app, Job& job) {
  if (!job.request.is_object()) throw Error(ErrorKind::bad_input, "the request of a job is a JSON object, {\"prompt\": …}");
  const std::string checkpoint = take_checkpoint(app, job.request);
  check_pictures(job.request);
  const Request request = read_generate_request(app, job.request);
  make_data_uris(job.request);
  job.request["checkpoint"] = checkpoint;
  job.seed = drawn_seed(request.seed);
  job.subseed = drawn_seed(request.subseed);
  job.pictures = batch_pictures(request);
  job.batch_key = batch_key(job.request, request);
  if (job.title.empty()) job.title = title_of(request);
}

void run_generate_jobs(JobRun& run) {
  if (run.jobs.size() == 1) return run_alone(run, run.jobs[0]);
  try {
    run_together(run);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::cancelled) throw;
    // One of them cannot be made: each alone, so that the others can.
    for (const Job& job : run.jobs)
      if (!run.ended(job.id)) run.put_back_alone(job.id);
  }
}

}  // namespace lorikeet
