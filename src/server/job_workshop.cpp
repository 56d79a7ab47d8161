// Jobs of the kind "workshop": the verbs of `lorikeet lora` on the files of the library, by their names. What is written goes into the
// models folders under a new name.
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "lora/surgery/heat_map.h"
#include "lora/surgery/option_words.h"
#include "server/app.h"
#include "server/datasets.h"
#include "server/job_kinds.h"
#include "server/job_progress.h"
#include "server/problem.h"
#include "workshop/bake.h"
#include "workshop/lora_summary.h"
#include "workshop/operations.h"
#include "workshop/report.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
using nlohmann::json;

struct Input {
  std::string name;
  double te = 1, unet = 1;
  std::string lbw = {};
};

// All settings of all operations; each operation reads its own, and the names of the others are unknown to it.
struct Asked {
  std::vector<Input> inputs;
  std::string model, output, base, tuned, method = "sum", to, kind, dtype, rule;
  std::vector<std::string> block_ranks;
  int64_t rank = 0, conv_rank = 0;
  double density = 0.5, min_diff = 0, clamp_quantile = 1;
  uint64_t seed = 0;
  bool no_conv = false, no_te = false, rest = false, exact = false, like_kohya = false, partial = false, force = false, heat_map = false;
};

struct Operation {
  std::string_view name;
  size_t least_inputs, most_inputs;
  void (*read)(Members& members, Asked& asked);
  void (*run)(JobRun& run, Job& job, const Asked& asked, LoraTable& table);
  bool writes;
};

// --- reading ---

Input read_input(const json& value) {
  if (value.is_string()) return {.name = value.get<std::string>()};
  Members members(value);
  Input input{.name = members.wanted_text("name")};
  const double multiplier = members.number("multiplier").value_or(1);
  input.te = members.number("te").value_or(multiplier);
  input.unet = members.number("unet").value_or(multiplier);
  input.lbw = members.text("lbw").value_or("");
  members.finish();
  return input;
}

void read_output(Members& members, Asked& asked) {
  asked.output = members.wanted_text("output");
  asked.dtype = members.text("dtype").value_or("");
  asked.force = members.yes_no("force").value_or(false);
}

void read_ranks(Members& members, Asked& asked) {
  asked.rank = members.whole_number("rank").value_or(0);
  asked.conv_rank = members.whole_number("conv_rank").value_or(0);
  asked.rule = members.text("rule").value_or("");
  if (const json* list = members.any("block_ranks"))
    asked.block_ranks = list->is_string() ? std::vector<std::string>{list->get<std::string>()}
                                          : members.texts("block_ranks").value_or(std::vector<std::string>());
}

void read_nothing(Members&, Asked&) {}
void read_bake(Members& members, Asked& asked) { read_output(members, asked); }
void read_mix(Members& members, Asked& asked) {
  read_output(members, asked);
  read_ranks(members, asked);
  asked.method = members.text("method").value_or("sum");
  asked.to = members.text("to").value_or("");
  asked.density = members.number("density").value_or(0.5);
  asked.seed = static_cast<uint64_t>(members.whole_number("seed").value_or(0));
}
void read_extract(Members& members, Asked& asked) {
  read_output(members, asked);
  read_ranks(members, asked);
  asked.base = members.wanted_text("base");
  asked.tuned = members.wanted_text("tuned");
  asked.to = members.text("to").value_or("kohya");
  asked.no_conv = members.yes_no("no_conv").value_or(false);
  asked.no_te = members.yes_no("no_te").value_or(false);
  asked.rest = members.yes_no("rest").value_or(false);
  asked.exact = members.yes_no("exact").value_or(false);
  asked.min_diff = members.number("min_diff").value_or(0);
  asked.clamp_quantile = members.number("clamp_quantile").value_or(1);
  asked.seed = static_cast<uint64_t>(members.whole_number("seed").value_or(0));
}
void read_resize(Members& members, Asked& asked) {
  read_output(members, asked);
  read_ranks(members, asked);
  asked.like_kohya = members.yes_no("like_kohya").value_or(false);
}
void read_convert(Members& members, Asked& asked) {
  read_output(members, asked);
  read_ranks(members, asked);
  asked.to = members.text("to").value_or("");
  asked.kind = members.text("kind").value_or("");
  asked.partial = members.yes_no("partial").value_or(false);
}
void read_info(Members& members, Asked& asked) { asked.heat_map = members.yes_no("heat_map").value_or(true); }

RankOptions ranks_of(const Asked& asked) {
  RankOptions ranks;
  ranks.rank = asked.rank;
  ranks.conv_rank = asked.conv_rank;
  if (!asked.rule.empty()) read_rank_rule(asked.rule, ranks);
  for (const std::string& list : asked.block_ranks) read_block_ranks(list, ranks);
  ranks.like_kohya = asked.like_kohya;
  return ranks;
}

std::optional<Dtype> dtype_of(const Asked& asked, std::string_view otherwise) {
  return dtype_of_word(asked.dtype.empty() ? otherwise : std::string_view(asked.dtype));
}

std::vector<MixInput> mix_inputs(const Asked& asked, LoraTable& table) {
  std::vector<MixInput> inputs;
  for (const Input& input : asked.inputs) {
    MixInput one{table.open(table.find(input.name)), input.te, input.unet};
    if (!input.lbw.empty()) one.blocks = BlockWeights::parse(input.lbw);
    inputs.push_back(std::move(one));
  }
  return inputs;
}

// --- writing ---

// "styles/fox" -> the file below the first folder of that kind; nothing leads out of it.
fs::path output_file(App& app, ModelKind kind, const Asked& asked, const std::string& extension = ".safetensors") {
  const auto& places = app.options.folders.places(kind);
  if (places.empty())
    throw Error(ErrorKind::not_found, "there is no folder for a new " + std::string(name(kind)), "make one in the models folder");
  fs::path path = places.front();
  for (const std::string_view part : split(asked.output, '/')) path /= checked_file_name(part, "name of a new file");
  if (lower(path.extension().string()) != extension) path += extension;
  std::error_code code;
  if (!asked.force && fs::exists(path, code))
    throw HttpError(409, "conflict", "there is a " + std::string(name(kind)) + " \"" + asked.output + "\" already",
                    "choose another name, or send \"force\": true to replace it");
  const fs::path inside = fs::weakly_canonical(path.parent_path(), code);
  const std::string root = fs::canonical(places.front(), code).string();
  if (inside.string() != root && !starts_with(inside.string(), root + "/"))
    throw HttpError(403, "forbidden", "\"" + asked.output + "\" leads out of the models folder");
  return path;
}

fs::path prepared_file(App& app, ModelKind kind, const Asked& asked) {
  const fs::path path = output_file(app, kind, asked);
  std::error_code code;
  fs::create_directories(path.parent_path(), code);
  return path;
}

void tell(JobRun& run, Job& job, const Asked& asked, const MadeLora& made) {
  run.app.library.refresh();
  for (const std::string& note : made.notes) job.warnings.push_back(without_folders(note));
  job.result = {{"output", asked.output},
                {"text", line_of(made.layers)},
                {"data", {{"relative_error", total_error(made.layers)}, {"layers", json_of(made.layers)}}},
                {"pictures", json::array()}};
}

void run_bake(JobRun& run, Job& job, const Asked& asked, LoraTable& table) {
  const auto inputs = mix_inputs(asked, table);
  const OpenCheckpoint& model = *table.checkpoint();
  const BakeResult made = bake(*model.checkpoint, model.layers, inputs, {dtype_of(asked, "keep")},
                               prepared_file(run.app, ModelKind::checkpoint, asked), run.begin());
  run.app.library.refresh();
  for (const std::string& note : made.notes) job.warnings.push_back(without_folders(note));
  job.result = {{"output", asked.output},
                {"text", std::to_string(made.layers) + " layers changed"},
                {"data", {{"layers", made.layers}, {"tensors", made.tensors}}},
                {"pictures", json::array()}};
}

void run_mix(JobRun& run, Job& job, const Asked& asked, LoraTable& table) {
  MixOptions options{asked.method, ranks_of(asked), asked.density, asked.seed, dtype_of(asked, "f16"), {}};
  if (table.checkpoint()) options.checkpoint = table.checkpoint()->checkpoint->path();
  const auto inputs = mix_inputs(asked, table);
  tell(run, job, asked, mix_files(inputs, options, asked.to, prepared_file(run.app, ModelKind::lora, asked), run.begin()));
}

void run_extract(JobRun& run, Job& job, const Asked& asked, LoraTable& table) {
  const OpenCheckpoint base = open_checkpoint(table.find_checkpoint(asked.base)),
                       tuned = open_checkpoint(table.find_checkpoint(asked.tuned));
  ExtractOptions options;
  options.ranks = ranks_of(asked);
  options.convolutions = !asked.no_conv;
  options.text_encoder = !asked.no_te;
  options.rest = asked.rest;
  options.exact = asked.exact;
  options.min_difference = asked.min_diff;
  options.clamp_quantile = asked.clamp_quantile;
  options.seed = asked.seed;
  options.dtype = dtype_of(asked, "f16").value_or(torch::kHalf);
  tell(run, job, asked, extract_file(base, tuned, options, asked.to, prepared_file(run.app, ModelKind::lora, asked), run.begin()));
}

void run_resize(JobRun& run, Job& job, const Asked& asked, LoraTable& table) {
  const auto reader = table.open(table.find(asked.inputs[0].name));
  tell(run, job, asked,
       resize_file(*reader, {ranks_of(asked), dtype_of(asked, "keep")}, prepared_file(run.app, ModelKind::lora, asked), run.begin()));
}

void run_convert(JobRun& run, Job& job, const Asked& asked, LoraTable& table) {
  const auto reader = table.open(table.find(asked.inputs[0].name));
  const ConvertOptions options{kind_of_word(asked.kind), ranks_of(asked), dtype_of(asked, "keep"), asked.to};
  tell(run, job, asked, convert_file(*reader, options, asked.partial, prepared_file(run.app, ModelKind::lora, asked), run.begin()));
}

void run_compare(JobRun& run, Job& job, const Asked& asked, LoraTable& table) {
  const auto first = table.open(table.find(asked.inputs[0].name)), second = table.open(table.find(asked.inputs[1].name));
  const Comparison made = compare(*first, *second, run.begin());
  char cosine[32];
  std::snprintf(cosine, sizeof cosine, "%.4f", made.total.cosine());
  const std::string text =
      made.same_tensors ? "the tensors are the same, byte by byte"
                        : "cosine " + std::string(cosine) + " over " + std::to_string(made.layers.size()) + " layers that both change";
  job.result = {{"text", text}, {"data", json_of(made)}, {"pictures", json::array()}};
}

std::string text_of(const LoraDescription& d) {
  std::string text = (d.summary.family.empty() ? "of a family that its layers do not tell" : d.summary.family) + ", " + kinds_text(d.summary) + ", " +
                     std::to_string(d.summary.modules) + " modules, " + size_text(d.bytes);
  if (!d.with_checkpoint) return text;
  text += "; " + std::to_string(d.matched) + " of " + std::to_string(d.total) + " modules fit the checkpoint";
  char number[32];
  std::snprintf(number, sizeof number, "%.2g", d.suggested_multiplier);
  if (d.suggested_multiplier > 0) text += ", multiplier at most about " + std::string(number);
  return text;
}

void run_info(JobRun& run, Job& job, const Asked& asked, LoraTable& table) {
  const auto reader = table.open(table.find(asked.inputs[0].name));
  const LoraDescription made = describe(*reader, run.begin(), [&] {
    if (table.checkpoint()) table.checkpoint()->checkpoint->release_pages();
  });
  json data = json_of(made);
  data.erase("path");
  job.result = {{"text", text_of(made)}, {"data", std::move(data)}, {"pictures", json::array()}};
  if (!asked.heat_map || made.layers.empty()) return;
  const Picture map = to_picture(heat_map(made));
  const auto bytes = encode_picture(PictureFormat::png, map, {}, 90);
  const std::string id = run.app.outputs.save_drawing(PictureFormat::png, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  job.result["pictures"].push_back(picture_json(id, map.width_px, map.height_px, 0, ""));
}

constexpr std::array kOperations{
    Operation{"bake", 1, 64, read_bake, run_bake, true},         Operation{"mix", 1, 64, read_mix, run_mix, true},
    Operation{"extract", 0, 0, read_extract, run_extract, true}, Operation{"resize", 1, 1, read_resize, run_resize, true},
    Operation{"convert", 1, 1, read_convert, run_convert, true}, Operation{"compare", 2, 2, read_nothing, run_compare, false},
    Operation{"info", 1, 1, read_info, run_info, false},         Operation{"check", 1, 1, read_info, run_info, false},
};

const Operation& operation_named(const std::string& wanted) {
  std::vector<std::string> names;
  for (const Operation& operation : kOperations) {
    if (operation.name == wanted) return operation;
    names.emplace_back(operation.name);
  }
  throw Error(ErrorKind::bad_input, "there is no operation \"" + valid_utf8(wanted) + "\"", "there are " + join(names, ", "));
}

const Operation& read_request(const json& request, Asked& asked) {
  Members members(request);
  const std::string name = members.wanted_text("operation");
  const Operation& operation = operation_named(name);
  asked.model = members.text("model").value_or("");
  if (const json* inputs = members.any("inputs")) {
    if (!inputs->is_array()) throw Error(ErrorKind::bad_input, "\"inputs\" wants a list of {\"name\", \"multiplier\"}");
    for (const json& input : *inputs) asked.inputs.push_back(read_input(input));
  }
  operation.read(members, asked);
  members.finish();
  if (asked.inputs.size() < operation.least_inputs || asked.inputs.size() > operation.most_inputs)
    throw Error(ErrorKind::bad_input, std::string(operation.name) + " does not work on " + std::to_string(asked.inputs.size()) + " files",
                operation.least_inputs == operation.most_inputs ? "give " + std::to_string(operation.least_inputs)
                                                                : "give at least " + std::to_string(operation.least_inputs));
  return operation;
}

bool needs_checkpoint(const Operation& operation) { return operation.name == "bake" || operation.name == "check"; }
}  // namespace

void check_workshop_job(App& app, Job& job) {
  Asked asked;
  const Operation& operation = read_request(job.request, asked);
  LoraTable table(app.options.folders, /*with_paths=*/false);
  std::vector<std::string> names;
  for (const Input& input : asked.inputs) {
    table.find(input.name);
    names.push_back(input.name);
  }
  for (const std::string& checkpoint : {asked.base, asked.tuned})
    if (!checkpoint.empty()) names.push_back(app.checkpoint_named(checkpoint));
  ranks_of(asked);
  dtype_of(asked, "keep");
  kind_of_word(asked.kind);
  if (!asked.to.empty()) find_lora_naming(asked.to);
  find_mix_method(asked.method);
  if (operation.writes) output_file(app, operation.name == "bake" ? ModelKind::checkpoint : ModelKind::lora, asked);
  if (!asked.model.empty()) job.request["model"] = app.checkpoint_named(asked.model);
  if (asked.model.empty() && needs_checkpoint(operation)) job.request["model"] = app.chosen_checkpoint();
  if (job.title.empty())
    job.title = std::string(operation.name) + " " + join(names, ", ") + (asked.output.empty() ? "" : " -> " + asked.output);
}

void run_workshop_job(JobRun& run) {
  Job& job = run.jobs[0];
  Asked asked;
  const Operation& operation = read_request(job.request, asked);
  LoraTable table(run.app.options.folders, /*with_paths=*/false);
  if (!asked.model.empty()) table.use_checkpoint(table.find_checkpoint(asked.model));
  operation.run(run, job, asked, table);
}

}  // namespace lorikeet
