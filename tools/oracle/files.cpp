// Tensors in torch's formats beside the same ones in safetensors: <folder>/<format>_<x>.pt and <folder>/<x>.expected.safetensors.
#include "files.h"

#include "base/text.h"
#include "check.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;

namespace {

void check_same_tensors(Check& check, const fs::path& path, const TensorFile& expected) {
  const std::string name = fs::relative(path, check.root()).generic_string();
  const auto file = TensorFile::open(path);
  Tally tally;
  for (const auto& [key, entry] : expected.tensors()) {
    const Tensor wanted = expected.read(key);
    const bool same = file->contains(key) && file->read(key).scalar_type() == wanted.scalar_type() && file->read(key).equal(wanted);
    tally.add(key, same, "differs from the safetensors file");
  }
  tally.add("the list of names", file->tensors().size() == expected.tensors().size());
  check.exact(name, tally);
}

}  // namespace

void check_files(Check& check) {
  for (const auto& path : check.files(R"((?!lora/)[^/]+/[^/]+\.expected\.safetensors)")) {
    const auto expected = TensorFile::open(path);
    const std::string stem = match(path, R"((.*)\.expected\.safetensors)");
    for (const auto& candidate :
         check.files(fs::relative(path.parent_path(), check.root()).generic_string() + R"(/[^/]*\.(pt|bin|ckpt))")) {
      if (!ends_with(candidate.stem().string(), stem)) continue;
      check.run(candidate.filename().string(), [&] { check_same_tensors(check, candidate, *expected); });
    }
  }
  check_diffusers_folders(check);
  check_tokenizer_files(check);
}

}  // namespace lorikeet::oracle
