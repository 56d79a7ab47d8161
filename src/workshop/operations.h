// What the command line and the server do with LoRA files: from inputs to a written file, with notes for people. Each writes the file whole
// or not at all.
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "lora/surgery/convert.h"
#include "lora/surgery/extract.h"
#include "lora/surgery/mix.h"
#include "lora/surgery/resize.h"
#include "workshop/lora_table.h"

namespace lorikeet {

struct MadeLora {
  std::vector<LayerResult> layers;
  std::vector<std::string> notes;
};

// naming: of the keys; "": the first file's.
MadeLora mix_files(std::span<const MixInput> inputs, const MixOptions& options, const std::string& naming,
                   const std::filesystem::path& output, Progress& progress);
MadeLora resize_file(const LoraReader& reader, const ResizeOptions& options, const std::filesystem::path& output, Progress& progress);
// options.spelling: of the keys; "": as they were. partial: layers without a word in it are left out.
MadeLora convert_file(const LoraReader& reader, const ConvertOptions& options, bool partial, const std::filesystem::path& output,
                      Progress& progress);
// options.family is settled here. Error{bad_input}: the checkpoints are of two families.
MadeLora extract_file(const OpenCheckpoint& base, const OpenCheckpoint& tuned, ExtractOptions options, const std::string& naming,
                      const std::filesystem::path& output, Progress& progress);

ToKind kind_of_word(std::string_view word);  // "", "lora", "full"; Error{bad_input}

}  // namespace lorikeet
