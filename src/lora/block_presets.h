// Block weights by name (lbw=MIDD): the usual ones, and those of files in sd-webui-lora-block-weight's format.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_folders.h"
#include "lora/blocks.h"
#include "nn/layer.h"

namespace lorikeet {

// What people call the file, wherever it lies.
inline constexpr std::string_view kBlockPresetFile = "lbwpresets.txt";

class BlockPresets {
 public:
  // Those of the files of that name in the models folders and in the folders of LoRAs; also where the extension has it below an A1111.
  static BlockPresets in(const ModelFolders& folders);

  // Lines NAME:1,0,… ; others are comments. A name that is there already gets further weights: the ones that fit the model are taken, the
  // last of several. `source` is for messages.
  void add(std::string_view text, const std::string& source);
  // Error{io}: it cannot be read.
  void add_file(const std::filesystem::path& path);

  // `text`: numbers with commas between (BlockWeights::parse), a preset, or one of the built-in names, which the presets come before:
  // ALL, ALL0.5, NONE; INS, IND, INALL, MIDD, OUTD, OUTS, OUTALL (S: the shallow blocks, D: the deep ones; all with BASE); one block alone
  // (BASE, IN04, MID, OUT07). Exact case before any case. `layers`: the model's, whose blocks they are.
  // Error{bad_input}: numbers that do not parse; no such name, with the near ones.
  BlockWeights weights(std::string_view text, const LayerMap& layers) const;

  std::vector<std::string> names(const LayerMap& layers) const;  // the file's and the built-in ones

 private:
  struct Entry {
    std::string numbers, source;  // "lbwpresets.txt, line 3"
  };
  std::map<std::string, std::vector<Entry>> entries_;
};

// What a vector leaves out or has too much of for a model: a sentence for people, "" when it fits. Blocks without a weight are at 0.
std::string misfit(const BlockWeights& weights, const LayerMap& layers);

}  // namespace lorikeet
