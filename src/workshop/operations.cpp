#include "workshop/operations.h"

#include "base/error.h"
#include "lora/surgery/option_words.h"
#include "lora/surgery/provenance.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
void note_unmatched(const LoraReader& reader, std::vector<std::string>& notes) {
  for (const std::string& module : reader.report().unmatched)
    notes.push_back(module + " fits no layer and is left out; name the checkpoint with -m");
}
}  // namespace

MadeLora mix_files(std::span<const MixInput> inputs, const MixOptions& options, const std::string& naming, const fs::path& output,
                   Progress& progress) {
  MixResult result;
  LoraDraft draft = mix(inputs, options, result, progress);
  const LoraNaming& keys = naming.empty() ? naming_of(*inputs.front().reader) : find_lora_naming(naming);
  WrittenLora written = write_draft(output, std::move(draft), keys, /*partial=*/false, progress);
  return {std::move(result.layers), std::move(written.notes)};
}

MadeLora resize_file(const LoraReader& reader, const ResizeOptions& options, const fs::path& output, Progress& progress) {
  ResizeResult result;
  LoraDraft draft = resize(reader, options, result, progress);
  WrittenLora written = write_draft(output, std::move(draft), naming_of(reader), /*partial=*/false, progress);
  if (!result.carried.empty())
    written.notes.push_back(std::to_string(result.carried.size()) +
                            " layers are of other kinds and stay as they were (first: " + result.carried[0] + ")");
  note_unmatched(reader, written.notes);
  return {std::move(result.layers), std::move(written.notes)};
}

MadeLora convert_file(const LoraReader& reader, const ConvertOptions& options, bool partial, const fs::path& output, Progress& progress) {
  const LoraNaming& naming = options.spelling.empty() ? naming_of(reader) : find_lora_naming(options.spelling);
  ConvertResult result;
  LoraDraft draft = convert(reader, options, result, progress);
  WrittenLora written = write_draft(output, std::move(draft), naming, partial, progress);
  if (!written.left_out.empty())
    written.notes.push_back(std::to_string(written.left_out.size()) +
                            " layers have no name in this spelling and are left out (first: " + written.left_out[0] + ")");
  note_unmatched(reader, written.notes);
  return {std::move(result.layers), std::move(written.notes)};
}

MadeLora extract_file(const OpenCheckpoint& base, const OpenCheckpoint& tuned, ExtractOptions options, const std::string& naming,
                      const fs::path& output, Progress& progress) {
  if (base.spec.family != tuned.spec.family)
    throw Error(ErrorKind::bad_input,
                base.checkpoint->path().filename().string() + " is " + base.spec.label + ", " +
                    tuned.checkpoint->path().filename().string() + " is " + tuned.spec.label,
                "both are to be of one family");
  options.family = base.spec.family;
  ExtractResult result;
  LoraDraft draft = extract(base.layers, tuned.layers, options, result, progress, [&] {
    base.checkpoint->release_pages();
    tuned.checkpoint->release_pages();
  });
  add_history(draft.metadata, "extract", {history_input(base.checkpoint->path(), {}), history_input(tuned.checkpoint->path(), {})},
              option_words(options));
  WrittenLora written = write_draft(output, std::move(draft), find_lora_naming(naming), /*partial=*/false, progress);
  if (!result.different.empty())
    written.notes.push_back(std::to_string(result.different.size()) +
                            " layers differ in what is not extracted: embeddings, norms, biases or left-out convolutions (first: " +
                            result.different[0] + "); --rest takes norms and biases");
  if (!result.only_one.empty())
    written.notes.push_back(std::to_string(result.only_one.size()) +
                            " layers are in one of the checkpoints only, or of another shape (first: " + result.only_one[0] + ")");
  return {std::move(result.layers), std::move(written.notes)};
}

ToKind kind_of_word(std::string_view word) {
  if (word.empty()) return ToKind::as_is;
  if (word == "lora") return ToKind::lora;
  if (word == "full") return ToKind::full;
  throw Error(ErrorKind::bad_input, "there is no way to the kind \"" + std::string(word) + "\"", "--kind lora, or --kind full");
}

}  // namespace lorikeet
