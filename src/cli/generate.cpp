// lorikeet generate: flags -> Request -> generate() -> picture files and a report.
#include "generate/generate.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/from_picture.h"
#include "cli/options.h"
#include "cli/output_files.h"
#include "cli/terminal_progress.h"
#include "generate/engine.h"
#include "generate/latents.h"
#include "generate/pixels.h"
#include "generate/request.h"

namespace lorikeet {

namespace {
using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct GenerateOptions {
  FolderOptions folders;
  DeviceOptions device;
  std::string model, output = "outputs", from, preview;
  bool json = false, quiet = false;
  std::vector<std::pair<std::string, std::string>> given;  // settings on the command line, in their order
  std::vector<std::string> prompts;
};

std::string_view group_name(FieldGroup group) {
  switch (group) {
    case FieldGroup::basic: return "Picture";
    case FieldGroup::image: return "From a picture (img2img, inpainting)";
    case FieldGroup::hires: return "Hires fix";
    case FieldGroup::advanced: return "Advanced";
  }
  return "Advanced";
}

std::string_view type_name(FieldType type) {
  switch (type) {
    case FieldType::whole_number: return "N";
    case FieldType::number: return "X";
    case FieldType::picture: return "FILE";
    case FieldType::choice: return "NAME";
    default: return "TEXT";
  }
}

// " One of a, b, c."; the second pass of hires fix has the choices of the first.
std::string choices_text(const FieldInfo& info) {
  std::vector<std::string> names;
  for (const Choice& choice : info.choices) names.emplace_back(choice.name);
  return names.empty() || names[0].empty() ? "" : " One of " + join(names, ", ") + ".";
}

// One option of the command line for one setting.
void add_field(CLI::App& app, const FieldInfo& info, const std::shared_ptr<GenerateOptions>& options) {
  const std::string name(info.field.name), help = std::string(info.field.help) + choices_text(info);
  const std::string flags = info.flag + (info.field.flags.empty() ? "" : "," + std::string(info.field.flags));
  CLI::Option* option = nullptr;
  if (info.type == FieldType::yes_no) {
    const std::string no = ",!--no-" + info.flag.substr(2);
    option = app.add_flag_function(
        flags + no, [=](int64_t count) { options->given.emplace_back(name, count > 0 ? "true" : "false"); }, help);
  } else if (info.type == FieldType::texts) {
    option = app.add_option(flags, options->prompts, help)->allow_extra_args(false);
  } else {
    option = app.add_option_function<std::string>(
        flags, [=](const std::string& text) { options->given.emplace_back(name, text); }, help);
  }
  option->group(std::string(group_name(info.field.group)));
  if (info.type != FieldType::yes_no) option->type_name(std::string(type_name(info.type)))->default_str(info.default_text);
}

// Settings of the picture that --from names, then the flags over them.
struct Plan {
  Request request;
  FoundModel checkpoint;
  std::vector<std::string> notes;
};

Plan plan(const GenerateOptions& options, const ModelFolders& folders) {
  Plan plan;
  std::optional<FoundModel> checkpoint;
  if (!options.from.empty()) {
    FromPicture from = read_from_picture(options.from, folders);
    plan.request = std::move(from.request);
    plan.notes = std::move(from.notes);
    checkpoint = std::move(from.checkpoint);
  }
  for (const auto& [name, text] : options.given) set_field(plan.request, name, text);
  if (!options.prompts.empty()) plan.request.prompts = options.prompts;
  if (options.prompts.empty() && options.from.empty())
    throw Error(ErrorKind::bad_input, "there is no prompt", "say what to paint: -p \"a lighthouse at dusk\"");
  if (const auto format = OutputFiles::format_of(options.output)) plan.request.format = *format;
  validate(plan.request);
  plan.checkpoint = checkpoint && options.model.empty() ? *checkpoint : find_checkpoint(folders, options.model);
  plan.notes.insert(plan.notes.end(), plan.checkpoint.notes.begin(), plan.checkpoint.notes.end());
  return plan;
}

// "monet: 264 of 264 modules (lora, sd1)"
std::string line_of(const LoraReport& report) {
  std::vector<std::string> what;
  for (const auto& [kind, count] : report.kinds) what.push_back(kind);
  if (!report.family.empty()) what.push_back(report.family);
  std::string line =
      report.name + ": " + std::to_string(report.matched) + " of " + std::to_string(report.total) + " modules (" + join(what, ", ") + ")";
  const auto few = [](const std::vector<std::string>& keys) {
    return join(std::span(keys).first(std::min<size_t>(3, keys.size())), ", ") + (keys.size() > 3 ? ", …" : "");
  };
  if (!report.unmatched.empty()) line += "; no layer for " + few(report.unmatched);
  if (!report.unused.empty()) line += "; not used: " + few(report.unused);
  return line;
}

json json_of(const LoraReport& report) {
  return {{"name", report.name},           {"path", report.path},     {"matched", report.matched}, {"total", report.total},
          {"unmatched", report.unmatched}, {"unused", report.unused}, {"kinds", report.kinds},     {"family", report.family}};
}

std::vector<std::string> write_pictures(const GenerateResult& result, const Request& request, OutputFiles& files) {
  std::vector<std::string> paths;
  for (const GeneratedPicture& one : result.pictures) {
    const auto path = files.next(one.seed);
    write_picture(path, one.picture, {{"parameters", one.infotext}}, request.quality);
    paths.push_back(path.string());
  }
  return paths;
}

void report(const GenerateOptions& options, const GenerateResult& result, const std::vector<std::string>& paths, double load_seconds,
            Output& output) {
  if (!options.quiet) {
    for (const LoraReport& lora : result.loras) output.err << line_of(lora) << "\n";
    for (const std::string& warning : result.warnings) output.err << "warning: " << warning << "\n";
  }
  if (!options.json) {
    for (const std::string& path : paths) output.out << path << "\n";
    return;
  }
  json pictures = json::array(), loras = json::array();
  for (size_t i = 0; i < paths.size(); ++i)
    pictures.push_back({{"path", paths[i]}, {"seed", result.pictures[i].seed}, {"infotext", result.pictures[i].infotext}});
  for (const LoraReport& lora : result.loras) loras.push_back(json_of(lora));
  const json all{
      {"pictures", pictures}, {"loras", loras}, {"warnings", result.warnings}, {"load_seconds", load_seconds}, {"seconds", result.seconds}};
  output.out << all.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
}

int run(const GenerateOptions& options, Output& output) {
  const ModelFolders folders = open_folders(options.folders);
  Plan plan = lorikeet::plan(options, folders);
  OutputFiles files(options.output, plan.request.format);
  if (!options.preview.empty()) picture_format_of_path(options.preview);
  TerminalProgress progress(output, output.terminal && !options.quiet);
  progress.stage("loading " + plan.checkpoint.file.path.filename().string(), 0);
  const auto began = Clock::now();
  Engine engine({.checkpoint = plan.checkpoint.file.path,
                 .vae = {},
                 .device = options.device.device,
                 .precision = options.device.precision,
                 .threads = options.device.threads,
                 .folders = folders});
  const double load_seconds = std::chrono::duration<double>(Clock::now() - began).count();
  if (!options.preview.empty())
    progress.preview_to(options.preview, [&](const Tensor& x0) {
      const Tensor small = preview_image(engine.spec().latent, x0.slice(0, 0, 1).to(torch::kCPU, torch::kFloat32));
      return picture_of(resize(small, static_cast<int>(small.size(2)) * 8, static_cast<int>(small.size(1)) * 8, Resampling::nearest));
    });
  GenerateResult result = generate(engine, plan.request, progress);
  result.warnings.insert(result.warnings.begin(), plan.notes.begin(), plan.notes.end());
  const auto paths = write_pictures(result, plan.request, files);
  progress.clear_line();
  report(options, result, paths, load_seconds, output);
  return 0;
}
}  // namespace

RunCommand define_generate(CLI::App& app) {
  const auto options = std::make_shared<GenerateOptions>();
  app.add_option("-m,--model", options->model, "The checkpoint: a name in the models folder, or a file.")
      ->group("Picture")
      ->type_name("NAME");
  for (const FieldInfo& info : field_list()) add_field(app, info, options);
  app.add_option("-o,--output", options->output, "A picture file, or a folder.")
      ->group("Picture")
      ->type_name("PATH")
      ->capture_default_str();
  app.add_option("--from", options->from, "Take the settings from this picture; other options come on top.")
      ->group("Picture")
      ->type_name("FILE");
  app.add_option("--preview", options->preview, "Keep writing the picture so far to this file.")->group("Advanced")->type_name("FILE");
  add_folder_options(app, options->folders);
  add_device_options(app, options->device);
  app.add_flag("--json", options->json, "The result as JSON on the standard output.")->group("Advanced");
  app.add_flag("-q,--quiet", options->quiet, "No progress, reports and warnings.")->group("Advanced");
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace lorikeet
