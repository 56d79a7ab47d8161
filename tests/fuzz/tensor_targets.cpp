// Fuzz targets: bytes that claim to be a tensor file, a pickle, a LoRA.
#include "tensor_targets.h"

#include "base/error.h"
#include "base/text.h"
#include "io/pickle.h"
#include "io/tensor_file.h"
#include "io/zip.h"
#include "lora/file.h"

namespace lorikeet {

int fuzz_tensor_file(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  std::shared_ptr<const TensorFile> file;
  try {
    file = TensorFile::parse(MappedFile::from_bytes(bytes, "fuzz"));
  } catch (const Error&) {
    return 0;
  }
  for (const auto& [name, entry] : file->tensors()) {
    try {
      const Tensor tensor = file->read(name);
      if (tensor.sizes() != torch::IntArrayRef(entry.shape) || tensor.scalar_type() != entry.dtype) __builtin_trap();
      if (tensor.numel() < (1 << 16)) tensor.contiguous().clone();  // touches each element
    } catch (const Error&) {
    }
  }
  return 0;
}

int fuzz_pickle(const uint8_t* data, size_t size) {
  try {
    read_pickle({reinterpret_cast<const char*>(data), size});
  } catch (const Error&) {
  }
  return 0;
}

// A safetensors file grouped into modules, each read and summed up; its JSON header is where the strange cases are.
int fuzz_lora(const uint8_t* data, size_t size) {
  try {
    const LoraFile file(TensorFile::parse(MappedFile::from_bytes(std::string(reinterpret_cast<const char*>(data), size), "fuzz")));
    file.summary();
    file.read_embeddings();
    for (const auto& [module, entries] : file.modules()) {
      if (file.read(module).size() < entries.size()) __builtin_trap();
    }
  } catch (const Error&) {
  }
  return 0;
}

std::vector<std::string> pickle_seeds() {
  std::vector<std::string> seeds;
  for (std::string& bytes : golden_seeds({"io", "sd1c/zip_small.pt"})) {
    if (!starts_with(bytes, "PK")) continue;
    const ZipArchive archive(MappedFile::from_bytes(std::move(bytes), "seed"));
    for (const auto& [name, entry] : archive.entries()) {
      if (ends_with(name, "data.pkl")) seeds.emplace_back(archive.read(entry).bytes);
    }
  }
  return seeds;
}

}  // namespace lorikeet
