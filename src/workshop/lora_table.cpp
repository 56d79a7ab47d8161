#include "workshop/lora_table.h"

#include "base/error.h"
#include "base/text.h"
#include "lora/block_presets.h"
#include "workshop/outline.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
double number_of(std::string_view text, const std::string& whole) {
  const auto number = parse_double(trim(text));
  if (!number)
    throw Error(ErrorKind::bad_input, "\"" + std::string(text) + "\" in \"" + whole + "\" is no multiplier", "NAME:0.8, or NAME:0.8:0.5");
  return *number;
}
}  // namespace

OpenCheckpoint open_checkpoint(const fs::path& path) {
  OpenCheckpoint open;
  open.checkpoint = Checkpoint::open(path);
  open.spec = recognise_model(*open.checkpoint);
  open.layers = outline(*open.checkpoint, open.spec);
  return open;
}

fs::path LoraTable::find(const std::string& name) const { return folders_.find(ModelKind::lora, name, with_paths_).file.path; }
fs::path LoraTable::find_checkpoint(const std::string& name) const {
  return folders_.find(ModelKind::checkpoint, name, with_paths_).file.path;
}

std::shared_ptr<const LoraReader> LoraTable::open(const fs::path& path) {
  for (const auto& reader : readers_)
    if (reader->file().path() == path) return reader;
  const auto file = LoraFile::open(path);
  const auto reader = with_context("while reading LoRA " + path.filename().string(), [&] {
    if (checkpoint_) return std::make_shared<const LoraReader>(file, checkpoint_->layers, checkpoint_->spec.family);
    return std::make_shared<const LoraReader>(LoraReader::by_shapes(file, known_layers(guess_family(*file))));
  });
  readers_.push_back(reader);
  return reader;
}

BlockWeights LoraTable::blocks(std::string_view text) const {
  if (checkpoint_) return BlockPresets::in(folders_).weights(text, checkpoint_->layers);
  if (text.find(',') == std::string_view::npos)
    throw Error(ErrorKind::bad_input, "the blocks that \"lbw=" + std::string(text) + "\" means depend on the model", "name the checkpoint with -m, or write numbers");
  return BlockWeights::parse(text);
}

MixInput LoraTable::input(const std::string& text) {
  if (with_paths_ && is_model_path(text)) return {open(find(text))};  // a path may have colons
  const auto parts = split(text, ':');
  MixInput input{open(find(std::string(parts[0])))};
  int positional = 0;
  for (size_t i = 1; i < parts.size(); ++i) {
    const size_t equals = parts[i].find('=');
    const std::string_view key = parts[i].substr(0, equals == std::string_view::npos ? 0 : equals), value = parts[i].substr(equals + 1);
    if (equals == std::string_view::npos) {
      const double number = number_of(parts[i], text);
      if (positional == 0) input.te = number;
      if (positional > 1) throw Error(ErrorKind::bad_input, "\"" + text + "\" has more than two multipliers", "NAME:TEXT_ENCODER:UNET");
      input.unet = number;
      ++positional;
    } else if (key == "te") {
      input.te = number_of(value, text);
    } else if (key == "unet") {
      input.unet = number_of(value, text);
    } else if (key == "lbw") {
      input.blocks = blocks(value);
    } else {
      throw Error(ErrorKind::bad_input, "\"" + std::string(key) + "\" in \"" + text + "\" is not known", "te=, unet= and lbw= are");
    }
  }
  return input;
}

std::vector<fs::path> paths_of(const std::vector<MixInput>& inputs) {
  std::vector<fs::path> paths;
  for (const MixInput& input : inputs) paths.push_back(input.reader->file().path());
  return paths;
}

}  // namespace lorikeet
