// What to list of a library, and the answer.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/fields.h"
#include "library/card.h"

namespace lorikeet {

enum class LibrarySort { name, date_modified, date_added, size, rating };
std::span<const Choice> choices(LibrarySort);

inline constexpr std::string_view kUnknownFamily = "unknown";  // in a query: models whose family is not known

struct LibraryQuery {
  ModelKind kind = ModelKind::lora;
  // Words, each of which must occur somewhere: in name, alias, title, tags, trigger words, folder, notes or description, whatever the case and
  // the accents, also within a word; six or more hexadecimal digits are also taken as the beginning of sha256 or AutoV3. "in quotes" is
  // one word, -word must not occur.
  std::string text = {};
  std::optional<std::string> folder = {};  // this one and those below it; "" is all
  std::string family = {};                 // "": all; kUnknownFamily: those without one
  std::string tag = {};                    // "": all; else the whole tag, whatever the case
  bool favourites = false;            // only those
  LibrarySort sort = LibrarySort::name;
  bool descending = false;  // what is equal is in the order of names
  int64_t offset = 0;       // >= 0
  int64_t limit = 100;      // 0..kMostCards
};
inline constexpr int64_t kMostCards = 1000;

struct LibraryPage {
  int64_t total = 0;  // of all that the query means
  int64_t offset = 0;
  std::vector<LibraryCard> items;
  std::vector<std::string> folders, families;  // of all models of this kind; folders without the top
  bool scanning = false;
  uint64_t version = 0;
  std::vector<std::string> problems;  // for people: folders that are gone or cannot be read, changes that cannot be noticed
};

}  // namespace lorikeet
