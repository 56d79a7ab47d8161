// What the tests of tensor files share.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.h"
#include "base/scratch.h"
#include "io/tensor_file.h"

namespace lorikeet {

using testing::error_of;
using testing::read_bytes;
using testing::ScratchFolder;

inline std::filesystem::path golden(const std::string& name) { return std::filesystem::path(LORIKEET_GOLDEN_DIR) / name; }

inline std::shared_ptr<const TensorFile> parse_bytes(std::string bytes) {
  return TensorFile::parse(MappedFile::from_bytes(std::move(bytes), "some.file"));
}

}  // namespace lorikeet
