// SQLite in a thin coat: a connection, statements, errors as Error. One object is for one thread at a time.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace lorikeet {

class Database {
 public:
  // Opens or makes the file, in WAL mode; waits up to 5 s for other processes. Throws Error{io}, DamagedDatabase.
  explicit Database(const std::filesystem::path& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void run(const char* sql);  // one or more statements without results
  int64_t last_id() const;
  int64_t changes() const;  // rows that the last statement changed

  sqlite3* handle() const { return handle_; }
  [[noreturn]] void fail(const std::string& doing) const;

 private:
  sqlite3* handle_ = nullptr;
};

// The file is no SQLite database, or its pages contradict each other.
struct DamagedDatabase {
  std::string what;
};

// Compiled; to be used again and again. bind() counts from 1, columns from 0; texts are copied.
class Statement {
 public:
  Statement(Database& database, std::string_view sql);
  ~Statement();
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;

  Statement& bind(int at, int64_t value);
  Statement& bind(int at, int value) { return bind(at, int64_t{value}); }
  Statement& bind(int at, double value);
  Statement& bind(int at, std::string_view text);
  Statement& bind_bytes(int at, std::string_view bytes);
  Statement& bind_null(int at);

  bool step();  // true: a row is there
  void run();   // to its end, and ready for the next
  void reset();

  int64_t integer(int column) const;
  double number(int column) const;
  std::string text(int column) const;  // bytes too
  bool is_null(int column) const;

 private:
  Database& database_;
  sqlite3_stmt* handle_ = nullptr;
};

// All or nothing: rolled back unless commit() was called.
class Transaction {
 public:
  explicit Transaction(Database& database);
  ~Transaction();
  void commit();

 private:
  Database& database_;
  bool open_ = true;
};

// What is read within it is of one state, whatever others write.
class ReadTransaction {
 public:
  explicit ReadTransaction(Database& database) : database_(database) { database_.run("BEGIN"); }
  ~ReadTransaction();

 private:
  Database& database_;
};

}  // namespace lorikeet
