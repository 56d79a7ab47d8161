// Answers from the index: pages of cards, one card by name.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <variant>

#include "base/error.h"
#include "base/text.h"
#include "library/fold.h"
#include "library/index_access.h"
#include "library/library_json.h"

namespace lorikeet {
namespace {

constexpr std::string_view kCardColumns =
    "i.id, i.kind, i.name, (SELECT card FROM details WHERE details.id = i.id), i.sha256, i.autov3, i.path, i.place, i.base_name, "
    "CASE WHEN i.autov3 = '' THEN 0 ELSE (SELECT count(*) - 1 FROM items d WHERE d.autov3 = i.autov3 AND d.kind = i.kind AND d.gone = 0) END";

StoredCard read_row(const Statement& row) {
  StoredCard stored;
  stored.id = row.integer(0);
  stored.card = card_from_json(nlohmann::json::parse(row.text(3), nullptr, false));
  stored.card.kind = static_cast<ModelKind>(row.integer(1));
  stored.card.name = row.text(2);
  stored.card.sha256 = row.text(4);
  stored.card.autov3 = row.text(5);
  stored.card.duplicates = std::max<int64_t>(0, row.integer(9));
  stored.path = row.text(6);
  stored.place = row.text(7);
  stored.base_name = row.text(8);
  stored.content = stored.card.autov3;
  return stored;
}

// A condition grows with the values that it is about.
struct Where {
  std::string sql;
  std::vector<std::variant<int64_t, std::string>> values;

  void add(const std::string& condition, std::initializer_list<std::variant<int64_t, std::string>> with = {}) {
    sql += (sql.empty() ? "" : " AND ") + condition;
    values.insert(values.end(), with);
  }
  void bind(Statement& statement) const {
    for (size_t i = 0; i < values.size(); ++i) {
      if (const auto* number = std::get_if<int64_t>(&values[i]))
        statement.bind(static_cast<int>(i) + 1, *number);
      else
        statement.bind(static_cast<int>(i) + 1, std::string_view(std::get<std::string>(values[i])));
    }
  }
};

bool is_hash_beginning(std::string_view word) {
  return word.size() >= 6 && word.size() <= 64 && word.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

int64_t characters(std::string_view utf8) {
  return std::ranges::count_if(utf8, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

void add_word(Where& where, const SearchWord& word) {
  constexpr int64_t kTrigram = 3;
  std::string condition = "i.id IN (SELECT id FROM details WHERE instr(text, ?) > 0)";
  std::vector<std::variant<int64_t, std::string>> values{word.text};
  if (characters(word.text) >= kTrigram) {
    condition = "i.id IN (SELECT rowid FROM search WHERE search MATCH ?)";
    values[0] = "\"" + replace_all(word.text, "\"", "\"\"") + "\"";
  }
  if (is_hash_beginning(word.text)) {
    condition = "(" + condition + " OR substr(i.sha256, 1, ?) = ? OR substr(i.autov3, 1, ?) = ?)";
    const auto length = static_cast<int64_t>(word.text.size());
    values.insert(values.end(), {length, word.text, length, word.text});
  }
  where.add(word.excluded ? "NOT " + condition : condition);
  where.values.insert(where.values.end(), values.begin(), values.end());
}

Where where_of(const LibraryQuery& query) {
  Where where;
  where.add("i.kind = ?", {static_cast<int64_t>(query.kind)});
  where.add("i.shown = 1");
  if (query.folder && !query.folder->empty()) {
    const std::string below = *query.folder + "/";
    where.add("(i.folder = ? OR substr(i.folder, 1, ?) = ?)", {*query.folder, characters(below), below});
  }
  if (!query.family.empty()) where.add("i.family = ?", {query.family == kUnknownFamily ? std::string() : query.family});
  if (!query.tag.empty()) where.add("instr(i.tags, ?) > 0", {"\n" + fold(query.tag) + "\n"});
  if (query.favourites) where.add("i.favourite = 1");
  for (const SearchWord& word : search_words(query.text)) add_word(where, word);
  return where;
}

std::string order_of(const LibraryQuery& query) {
  constexpr std::string_view kColumns[] = {"i.sort_name", "i.modified", "i.added", "i.size", "i.rating"};
  const std::string column(kColumns[static_cast<size_t>(query.sort)]);
  return " ORDER BY " + column + (query.descending ? " DESC" : "") + (query.sort == LibrarySort::name ? "" : ", i.sort_name") + ", i.id";
}

std::vector<std::string> texts(Statement& statement) {
  std::vector<std::string> result;
  while (statement.step()) result.push_back(statement.text(0));
  return result;
}

std::vector<std::string> distinct(Database& database, ModelKind kind, const std::string& column) {
  Statement select(database, "SELECT DISTINCT " + column + " FROM items WHERE kind = ?1 AND shown = 1 AND " + column + " != ''");
  select.bind(1, static_cast<int>(kind));
  auto result = texts(select);
  std::ranges::sort(result, {}, sort_key);
  return result;
}

std::optional<StoredCard> first_row(Database& database, const std::string& condition, ModelKind kind, std::string_view name) {
  Statement select(database, "SELECT " + std::string(kCardColumns) + " FROM items i WHERE i.kind = ?1 AND i.shown = 1 AND " + condition +
                                 " ORDER BY length(i.name) - length(replace(i.name, '/', '')), i.id LIMIT 1");
  select.bind(1, static_cast<int>(kind)).bind(2, name);
  if (!select.step()) return std::nullopt;
  return read_row(select);
}

}  // namespace

LibraryPage Index::list(const LibraryQuery& query) {
  const Where where = where_of(query);
  return reading([&](Database& database) {
    LibraryPage page;
    const ReadTransaction one_state(database);
    // All ids once: their number is the total, and a search that has to look into every text does so only once.
    page.offset = query.offset;
    Statement select(database, "SELECT i.id FROM items i WHERE " + where.sql + order_of(query));
    where.bind(select);
    Statement card(database, "SELECT " + std::string(kCardColumns) + " FROM items i WHERE i.id = ?1");
    for (; select.step(); ++page.total) {
      if (page.total < query.offset || page.total >= query.offset + query.limit) continue;
      card.bind(1, select.integer(0));
      if (card.step()) page.items.push_back(read_row(card).card);
      card.reset();
    }
    page.folders = distinct(database, query.kind, "folder");
    page.families = distinct(database, query.kind, "family");
    return page;
  });
}

std::optional<StoredCard> Index::find(ModelKind kind, std::string_view name) {
  return reading([&](Database& database) { return first_row(database, "i.name = ?2", kind, name); });
}

std::optional<StoredCard> Index::find_meant(ModelKind kind, std::string_view name) {
  return reading([&](Database& database) -> std::optional<StoredCard> {
    const std::string low = lower(name);
    for (const char* condition : {"i.name = ?2", "i.stem = ?2", "i.alias = ?2", "lower(i.name) = lower(?2)", "lower(i.stem) = lower(?2)",
                                  "lower(i.alias) = lower(?2)"})
      if (auto row = first_row(database, condition, kind, name)) return row;
    if (low.size() < 8 || !is_hash_beginning(low)) return std::nullopt;
    for (const char* condition : {"substr(i.autov3, 1, length(?2)) = ?2", "substr(i.sha256, 1, length(?2)) = ?2"})
      if (auto row = first_row(database, condition, kind, low)) return row;
    return std::nullopt;
  });
}

std::vector<std::string> Index::names(ModelKind kind) {
  return reading([&](Database& database) {
    Statement select(database, "SELECT name FROM items WHERE kind = ?1 AND shown = 1");
    select.bind(1, static_cast<int>(kind));
    return texts(select);
  });
}

std::vector<std::string> Index::same_content(const StoredCard& stored) {
  if (stored.content.empty()) return {};
  return reading([&](Database& database) {
    Statement select(database, "SELECT name FROM items WHERE autov3 = ?1 AND kind = ?2 AND gone = 0 AND id != ?3 ORDER BY sort_name");
    select.bind(1, stored.content).bind(2, static_cast<int>(stored.card.kind)).bind(3, stored.id);
    return texts(select);
  });
}

std::vector<std::string> Index::same_stem(const StoredCard& stored) {
  return reading([&](Database& database) {
    Statement select(database, "SELECT name FROM items WHERE stem = ?1 AND kind = ?2 AND shown = 1 AND id != ?3 ORDER BY sort_name");
    select.bind(1, stored.base_name.substr(stored.base_name.rfind('/') + 1)).bind(2, static_cast<int>(stored.card.kind)).bind(3, stored.id);
    return texts(select);
  });
}

std::vector<std::string> Index::hidden_by(const StoredCard& stored) {
  return reading([&](Database& database) {
    Statement select(database, "SELECT path FROM items WHERE base_name = ?1 AND kind = ?2 AND gone = 0 AND shown = 0");
    select.bind(1, stored.base_name).bind(2, static_cast<int>(stored.card.kind));
    return texts(select);
  });
}

}  // namespace lorikeet
