// Jobs of the kind "preview": the picture that stands for a LoRA: the same prompt and seed without it and with it, side by side.
#include "base/error.h"
#include "base/text.h"
#include "generate/engine.h"
#include "generate/generate.h"
#include "library/library_json.h"
#include "server/app.h"
#include "server/enlarge.h"
#include "server/job_kinds.h"
#include "server/job_progress.h"

namespace lorikeet {

namespace {
using nlohmann::json;

// What does not belong to the request of the pictures.
struct Target {
  ModelKind kind = ModelKind::lora;
  std::string name;
  double multiplier = 1;
};

Target take_target(App& app, json& request) {
  Target target;
  const std::string library = request.value("library", json("loras")).is_string() ? request.value("library", "loras") : "";
  if (library != "loras") throw Error(ErrorKind::bad_input, "previews are made of LoRAs", "\"library\": \"loras\"");
  if (!request.contains("name") || !request["name"].is_string()) throw Error(ErrorKind::bad_input, "\"name\" wants the name of a LoRA");
  const std::string name = request["name"];
  const auto card = app.library.card(target.kind, name);
  target.name = card ? card->name : app.options.folders.find(target.kind, name).file.name;
  const json multiplier = request.value(
      "multiplier", json(card && card->preferred_multiplier && *card->preferred_multiplier != 0 ? *card->preferred_multiplier : 1.0));
  if (!multiplier.is_number()) throw Error(ErrorKind::bad_input, "\"multiplier\" wants a number");
  target.multiplier = multiplier;
  for (const char* own : {"library", "name", "multiplier"}) request.erase(own);
  return target;
}

// Trigger words where nobody says what to paint.
std::string default_prompt(App& app, const Target& target) {
  const auto card = app.library.card(target.kind, target.name);
  if (!card) return "";
  if (!card->trigger_words.empty()) return join(card->trigger_words, ", ");
  std::vector<std::string> tags;
  for (size_t i = 0; i < card->tags.size() && i < 3; ++i) tags.push_back(card->tags[i].first);
  return join(tags, ", ");
}
}  // namespace

void check_preview_job(App& app, Job& job) {
  if (!job.request.is_object()) throw Error(ErrorKind::bad_input, "the request of a preview is a JSON object, {\"name\": …}");
  const json asked = job.request;
  const Target target = take_target(app, job.request);
  const std::string checkpoint = take_checkpoint(app, job.request);
  Request request = read_generate_request(app, job.request);
  if (request.prompts.size() > 1 || request.batch_size > 1 || request.n_iter > 1)
    throw Error(ErrorKind::bad_input, "a preview is of one picture", "give one prompt, batch_size 1");
  if (trim(request.prompts[0]).empty()) job.request["prompt"] = default_prompt(app, target);
  job.request["checkpoint"] = checkpoint;
  job.request["library"] = asked.value("library", "loras");
  job.request["name"] = target.name;
  job.request["multiplier"] = target.multiplier;
  job.seed = drawn_seed(request.seed);
  job.subseed = drawn_seed(request.subseed);
  if (job.title.empty()) job.title = "Preview of " + target.name;
}

void run_preview_job(JobRun& run) {
  Job& job = run.jobs[0];
  json fields = job.request;
  const Target target = take_target(run.app, fields);
  Request request = read_generate_request(run.app, fields);
  Engine& engine = run.engine(job.request.at("checkpoint"));
  const std::string prompt = request.prompts[0];
  std::vector<GeneratedPicture> made;
  for (int part = 0; part < 2; ++part) {
    if (part == 1) request.prompts[0] = prompt + " <lora:" + target.name + ":" + format_number(target.multiplier) + ">";
    JobProgress& progress = run.begin(part, 2, request.enable_hr ? 2 : 1);
    progress.preview_with(engine, 1);
    const PictureSeeds seeds{job.seed, job.subseed};
    GenerateResult result = generate(engine, request, std::span(&seeds, 1), progress);
    made.push_back(std::move(result.pictures.at(0)));
    if (part == 1) job.result["loras"] = loras_json(result.loras);
  }
  const Picture both = side_by_side(made[0].picture, made[1].picture);
  job.result["pictures"] = json::array({keep_picture(run.app, both, made[1].infotext, job.seed, PictureFormat::png, 90)});
  const auto bytes = encode_picture(PictureFormat::png, both, {{"parameters", made[1].infotext}});
  run.app.library.set_preview(target.kind, target.name, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace lorikeet
