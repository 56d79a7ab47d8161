// The one exception type of Lorikeet, and how the layers of a call add what they were doing to it.
// The message says what is wrong, the context what was being done, the hint what the person can do about it.
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lorikeet {

enum class ErrorKind { bad_input, not_found, unsupported, io, out_of_memory, cancelled, internal };

std::string_view name(ErrorKind kind);

class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message, std::string hint = {});

  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  const std::vector<std::string>& context() const { return context_; }  // innermost first

  // Adds one line of context ("while reading LoRA fox.safetensors").
  void add_context(std::string line);

  // "message\n  while …\n  hint: …", without a leading "error: ".
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  void compose();
  ErrorKind kind_;
  std::string message_, hint_, text_;
  std::vector<std::string> context_;
};

// Throws Error{bad_input}.
[[noreturn]] void refuse(std::string message, std::string hint = {});

// Runs `work`; an Error that passes through gains the line `context`.
template <class Work>
decltype(auto) with_context(std::string_view context, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (Error& error) {
    error.add_context(std::string(context));
    throw;
  }
}

}  // namespace lorikeet
