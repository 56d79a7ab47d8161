// Reads a golden file of tests/golden/prompts.
#pragma once
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace lorikeet {

inline nlohmann::json read_golden(const std::string& name) {
  std::ifstream file(std::string(LORIKEET_GOLDEN_DIR) + "/prompts/" + name);
  auto golden = nlohmann::json::parse(file);
  EXPECT_FALSE(golden.at("cases").empty());
  return golden;
}

}  // namespace lorikeet
