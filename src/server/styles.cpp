#include "server/styles.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

#include "base/text.h"

namespace lorikeet {

namespace {
using Row = std::vector<std::string>;

std::vector<Row> csv_rows(std::string_view text) {
  std::vector<Row> rows;
  Row row;
  std::string field;
  bool quoted = false;
  const auto end_row = [&] {
    row.push_back(std::move(field));
    field.clear();
    if (row.size() > 1 || !row[0].empty()) rows.push_back(std::move(row));
    row.clear();
  };
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (quoted && c == '"' && at + 1 < text.size() && text[at + 1] == '"')
      field += text[++at];
    else if (c == '"')
      quoted = !quoted;
    else if (!quoted && c == ',')
      row.push_back(std::exchange(field, ""));
    else if (!quoted && c == '\n')
      end_row();
    else if (quoted || c != '\r')
      field += c;
  }
  if (!field.empty() || !row.empty()) end_row();
  return rows;
}
}  // namespace

std::vector<Style> parse_styles(std::string_view csv) {
  if (starts_with(csv, "\xEF\xBB\xBF")) csv.remove_prefix(3);  // A1111 writes a byte order mark
  const auto rows = csv_rows(valid_utf8(csv));
  if (rows.empty()) return {};
  const auto column = [&](std::string_view name, std::string_view older) {
    const auto found = std::ranges::find_if(rows[0], [&](const std::string& title) { return title == name || title == older; });
    return static_cast<size_t>(found - rows[0].begin());
  };
  const size_t name = column("name", "name"), prompt = column("prompt", "text"), negative = column("negative_prompt", "negative_prompt");
  const auto cell = [](const Row& row, size_t at) { return at < row.size() ? row[at] : std::string(); };
  std::vector<Style> styles;
  for (size_t i = 1; i < rows.size(); ++i) styles.push_back({cell(rows[i], name), cell(rows[i], prompt), cell(rows[i], negative)});
  return styles;
}

std::vector<Style> read_styles(const std::filesystem::path& csv) {
  std::ifstream stream(csv, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return parse_styles(text.str());
}

std::string with_style(const std::string& prompt, const std::string& style) {
  if (style.find("{prompt}") != std::string::npos) return replace_all(style, "{prompt}", prompt);
  if (trim(style).empty()) return prompt;
  return trim(prompt).empty() ? style : std::string(trim(prompt)) + ", " + std::string(trim(style));
}

}  // namespace lorikeet
