// Errors as HTTP answers: ours for /api/v1, A1111's for its routes. No answer tells where a file lies on this machine.
#pragma once
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "server/http.h"

namespace lorikeet {

// What HTTP knows and the kinds of Error do not.
class HttpError : public Error {
 public:
  HttpError(int status, std::string kind, std::string message, std::string hint = {})
      : Error(ErrorKind::bad_input, std::move(message), std::move(hint)), status_(status), kind_(std::move(kind)) {}
  int status() const { return status_; }
  const std::string& word() const { return kind_; }  // "forbidden", "too_large", …

 private:
  int status_;
  std::string kind_;
};

// One field of a request to A1111's routes has a wrong type or value: 422, as FastAPI says it.
class FieldError : public HttpError {
 public:
  FieldError(std::string field, std::string message, std::string type)
      : HttpError(422, "bad_input", std::move(message)), field_(std::move(field)), type_(std::move(type)) {}
  const std::string& field() const { return field_; }
  const std::string& type() const { return type_; }

 private:
  std::string field_, type_;
};

enum class Dialect { ours, a1111 };
Dialect dialect_of(const std::string& path);

// {"error", "message", "hint", "context"}: an error as jobs and our answers carry it.
nlohmann::json json_of(const Error& error);
HttpResponse problem(const Error& error, Dialect dialect);
// Of whatever was thrown; what is no Error is "internal" and is told on the standard error.
HttpResponse problem(std::exception_ptr thrown, Dialect dialect);

// Folders are cut off from the paths in a text: "/srv/models/loras/fox.safetensors" is "fox.safetensors".
std::string without_folders(std::string text);

}  // namespace lorikeet
