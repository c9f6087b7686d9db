// keywheel keys …, access-keys …, usage: what operators do most, by a running server's API.
#pragma once

#include <memory>

#include "config/loader.hpp"

namespace CLI {
class App;
}

namespace kw::app {

// Adds the verbs; run() after the command line was parsed. -1: none of them was asked for.
class key_verbs {
  public:
    key_verbs(CLI::App& cli, const config::environment& env);
    ~key_verbs();
    key_verbs(const key_verbs&) = delete;
    key_verbs& operator=(const key_verbs&) = delete;

    [[nodiscard]] int run();

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace kw::app
