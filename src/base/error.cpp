#include "base/error.h"

namespace lorikeet {

std::string_view name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::bad_input: return "bad_input";
    case ErrorKind::not_found: return "not_found";
    case ErrorKind::unsupported: return "unsupported";
    case ErrorKind::io: return "io";
    case ErrorKind::out_of_memory: return "out_of_memory";
    case ErrorKind::cancelled: return "cancelled";
    case ErrorKind::internal: return "internal";
  }
  return "internal";
}

Error::Error(ErrorKind kind, std::string message, std::string hint)
    : kind_(kind), message_(std::move(message)), hint_(std::move(hint)) {
  compose();
}

void refuse(std::string message, std::string hint) { throw Error(ErrorKind::bad_input, std::move(message), std::move(hint)); }

void Error::add_context(std::string line) {
  context_.push_back(std::move(line));
  compose();
}

void Error::compose() {
  text_ = message_;
  for (const auto& line : context_) text_ += "\n  " + line;
  if (!hint_.empty()) text_ += "\n  hint: " + hint_;
}

}  // namespace lorikeet
