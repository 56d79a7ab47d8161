// Reads a golden file of tests/golden/prompts; the values live as long as the program, so that a part of one may be kept.
#pragma once
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace lorikeet {

inline const nlohmann::json& read_golden(const std::string& name) {
  static std::map<std::string, nlohmann::json> files;
  const auto [place, is_new] = files.try_emplace(name);
  if (is_new) place->second = nlohmann::json::parse(std::ifstream(std::string(LORIKEET_GOLDEN_DIR) + "/prompts/" + name));
  EXPECT_FALSE(place->second.at("cases").empty());
  return place->second;
}

}  // namespace lorikeet
