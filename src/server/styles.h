// Styles: named pieces of prompts in A1111's styles.csv (name,prompt,negative_prompt), kept in the data folder.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

struct Style {
  std::string name, prompt, negative_prompt;
};

// RFC 4180 with a heading; no file is no styles. Error{io}.
std::vector<Style> read_styles(const std::filesystem::path& csv);
std::vector<Style> parse_styles(std::string_view csv);

// A1111's rule: the prompt takes the place of "{prompt}" in the style, else the style follows it behind ", ".
std::string with_style(const std::string& prompt, const std::string& style);

}  // namespace lorikeet
