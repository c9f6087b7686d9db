// keywheel export, import: the configuration of a running server as a document, and back.
#pragma once

#include <memory>

#include "config/loader.hpp"

namespace CLI {
class App;
}

namespace kw::app {

// Adds the verbs; run() after the command line was parsed. -1: none of them was asked for.
class transfer_verbs {
  public:
    transfer_verbs(CLI::App& cli, const config::environment& env);
    ~transfer_verbs();
    transfer_verbs(const transfer_verbs&) = delete;
    transfer_verbs& operator=(const transfer_verbs&) = delete;

    [[nodiscard]] int run();

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace kw::app
