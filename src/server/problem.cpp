#include "server/problem.h"

#include <cctype>
#include <iostream>
#include <new>

#include "base/text.h"

namespace lorikeet {

namespace {
using nlohmann::json;

struct Answer {
  int status;
  std::string word;
};

Answer answer_of(const Error& error) {
  if (const auto* http = dynamic_cast<const HttpError*>(&error)) return {http->status(), http->word()};
  switch (error.kind()) {
    case ErrorKind::bad_input: return {400, "bad_input"};
    case ErrorKind::not_found: return {404, "not_found"};
    case ErrorKind::unsupported: return {422, "unsupported"};
    case ErrorKind::io: return {error.message().find("No space left") != std::string::npos ? 507 : 500, "io"};
    case ErrorKind::out_of_memory: return {503, "out_of_memory"};
    case ErrorKind::cancelled: return {409, "cancelled"};
    case ErrorKind::internal: return {500, "internal"};
  }
  return {500, "internal"};
}

json in_words_of_a1111(const Error& error, int status) {
  const std::string message = without_folders(error.hint().empty() ? error.message() : error.message() + "; " + error.hint());
  if (const auto* field = dynamic_cast<const FieldError*>(&error)) {
    const json detail = json::array({{{"loc", {"body", field->field()}}, {"msg", message}, {"type", field->type()}}});
    return {{"error", "RequestValidationError"}, {"detail", detail}, {"body", ""}, {"errors", message}};
  }
  return {{"error", status >= 500 ? "RuntimeError" : "HTTPException"}, {"detail", message}, {"body", ""}, {"errors", message}};
}

// Where a path begins: a '/' that continues no word, and is no address of ours.
bool begins_path(const std::string& text, size_t at) {
  if (text[at] != '/' || at + 1 >= text.size()) return false;
  const auto is_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-' || c == '~'; };
  if (at > 0 && (is_name(text[at - 1]) || text[at - 1] == '/' || text[at - 1] == ':' || text[at - 1] == '<')) return false;
  const std::string_view rest(text.data() + at, text.size() - at);
  return is_name(text[at + 1]) && !starts_with(rest, "/api/") && !starts_with(rest, "/sdapi/") && !starts_with(rest, "/internal/");
}
}  // namespace

Dialect dialect_of(const std::string& path) {
  for (const std::string_view prefix : {"/sdapi/", "/internal/", "/sd_extra_networks/"})
    if (starts_with(path, prefix)) return Dialect::a1111;
  return Dialect::ours;
}

std::string without_folders(std::string text) {
  constexpr std::string_view kEnds = " \t\n,;\"')|";
  for (size_t at = 0; at < text.size(); ++at) {
    if (!begins_path(text, at)) continue;
    const size_t end = std::min(text.find_first_of(kEnds, at), text.size());
    const size_t slash = text.rfind('/', end - 1);
    text.erase(at, slash + 1 - at);
  }
  return text;
}

json json_of(const Error& error) {
  std::vector<std::string> context;
  for (const std::string& line : error.context()) context.push_back(without_folders(line));
  return {{"error", answer_of(error).word},
          {"message", without_folders(error.message())},
          {"hint", without_folders(error.hint())},
          {"context", context}};
}

HttpResponse problem(const Error& error, Dialect dialect) {
  const int status = answer_of(error).status;
  HttpResponse response = json_response(dialect == Dialect::ours ? json_of(error) : in_words_of_a1111(error, status), status);
  if (status == 413 || status == 408) response.close = true;
  return response;
}

HttpResponse problem(std::exception_ptr thrown, Dialect dialect) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    if (answer_of(error).status >= 500) std::cerr << "error: " << error.what() << std::endl;
    return problem(error, dialect);
  } catch (const std::bad_alloc&) {
    return problem(Error(ErrorKind::out_of_memory, "there is not enough memory", "ask for less at once"), dialect);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << std::endl;
    return problem(Error(ErrorKind::internal, "this should not happen; the server's own output says more"), dialect);
  }
}

}  // namespace lorikeet
