// lorikeet-demo-evaluate: does the demo model do what its prompts and LoRAs say? Measured over fixed seeds, written as a Markdown page.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "base/error.h"
#include "base/text.h"
#include "demo/evaluate.h"
#include "io/atomic_file.h"
#include "nn/kernels/kernels.h"

namespace lorikeet::demo {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> models{"models"}, styles{"neon", "sketch", "blueprint"}, embeddings{"skyfruit=purple balloon"};
  std::string model = "demo", subject = "robot", sampler = "dpmpp_2m", output, keep;
  double cfg_scale = 7;
  size_t seeds = 50;
  int size = 128, steps = 20, paintings = JudgeOptions{}.pictures;
  bool only_judge = false;
};

void add_options(CLI::App& app, Options& o) {
  app.add_option("--models", o.models, "models folders")->capture_default_str();
  app.add_option("--model", o.model, "the checkpoint: a name in the models folders, or a file")->capture_default_str();
  app.add_option("--seeds", o.seeds, "pictures a question; half of that a multiplier")->capture_default_str()->check(CLI::Range(2, 1000));
  app.add_option(
         "--style", o.styles,
         "style LoRAs: NAME, or NAME=STYLE where the painter's style is called otherwise; the first and the last are also put together")
      ->capture_default_str();
  app.add_option("--subject", o.subject, "the LoRA of a subject: NAME, or NAME=SUBJECT")->capture_default_str();
  app.add_option("--embedding", o.embeddings, "an embedding of a thing: NAME=COLOUR THING")->capture_default_str();
  app.add_option("--size", o.size, "pixels a side")->capture_default_str();
  app.add_option("--steps", o.steps)->capture_default_str();
  app.add_option("--sampler", o.sampler)->capture_default_str();
  app.add_option("--cfg-scale", o.cfg_scale)->capture_default_str();
  app.add_option("--keep", o.keep, "a folder for all pictures that are made");
  app.add_option("--paintings", o.paintings, "how many the judge is trained on")->capture_default_str()->check(CLI::Range(100, 100000));
  app.add_flag("--only-judge", o.only_judge, "train and examine the judge, make no picture");
  app.add_option("--output", o.output, "where the report goes; without it, to the terminal");
}

Taught taught(const std::string& text) {
  const size_t equals = text.find('=');
  return {text.substr(0, equals), equals == std::string::npos ? text : text.substr(equals + 1)};
}

Word word(const std::string& text) {
  const Taught two = taught(text);
  const size_t space = two.style.find(' ');
  if (two.name == text || space == std::string::npos)
    throw Error(ErrorKind::bad_input, "\"" + text + "\" says not what the embedding means", "write NAME=COLOUR THING, as skyfruit=\"purple balloon\"");
  return {two.name, two.style.substr(0, space), two.style.substr(space + 1)};
}

void examine_model(const Options& o, const Exam& exam) {
  report_prompts(exam);
  for (const std::string& style : o.styles) report_style(exam, taught(style));
  if (o.styles.size() > 1) report_pair(exam, taught(o.styles.front()), taught(o.styles.back()));
  if (!o.subject.empty()) report_subject(exam, taught(o.subject).name, taught(o.subject).style);
  for (const std::string& embedding : o.embeddings) report_word(exam, word(embedding));
}

void evaluate(const Options& o) {
  for (const std::string& one : o.styles) painter::style_named(taught(one).style);  // an unknown style is told at once
  EngineOptions options;
  for (const std::string& folder : o.models) options.folders.add_root(folder);
  options.checkpoint = options.folders.find(ModelKind::checkpoint, o.model, /*with_paths=*/true).file.path;
  Engine engine(options);
  Request base;
  base.width = base.height = o.size;
  base.steps = o.steps;
  base.sampler = o.sampler;
  base.cfg_scale = o.cfg_scale;
  Studio studio(engine, base, o.keep);

  const auto began = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(); };
  const Judge judge({.pictures = o.paintings},
                    [](double done) { std::fprintf(stderr, "\r\033[Ktraining the judge  %.0f %%", 100 * done); });
  std::fprintf(stderr, "\r\033[Kthe judge was trained in %.0f s\n", seconds());

  std::string report =
      "# The demo model, measured\n\nMade by `lorikeet-demo-evaluate`: " + std::to_string(o.seeds) + " fixed seeds a question, " +
      std::to_string(o.seeds / 2) + " a multiplier; " + std::to_string(o.size) + "² pixels, " + std::to_string(o.steps) + " steps, " +
      o.sampler + ", CFG " + format_number(o.cfg_scale) +
      ".\nThe judge is a small network that the tool trains on painted pictures first; the last column of the first table is how well it "
      "would do on a perfect model.\n\n";
  const Exam exam{studio, judge, report, o.seeds, std::max<size_t>(1, o.seeds / 2)};
  report_judge(exam, 2000);
  if (!o.only_judge) examine_model(o, exam);
  std::fprintf(stderr, "%d pictures, %.2f s each, %.0f s in all\n", studio.made(), studio.seconds_a_picture(), seconds());
  if (o.output.empty())
    std::fputs(report.c_str(), stdout);
  else
    write_file_atomically(o.output, report);
}

}  // namespace
}  // namespace lorikeet::demo

int main(int count, char** arguments) {
  using namespace lorikeet;
  kernels::prepare_process();
  CLI::App app("Measures the demo model: do prompts and LoRAs decide what it paints?", "lorikeet-demo-evaluate");
  demo::Options options;
  demo::add_options(app, options);
  CLI11_PARSE(app, count, arguments);
  try {
    demo::evaluate(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "\nerror: %s\n", error.what());
    return 1;
  }
  return 0;
}
