// heap: a leftist heap over numbered nodes, push and pop in O(log n) at worst.
//
// All work is done along right spines, which are never longer than log2(n + 1).  A node's `link` is its parent, so that
// a heap can be walked without a stack: its left spine may be as long as the heap is large.
#pragma once

#include <cstdint>
#include <utility>

#include "core/pool.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

/// `Node` has `Link link`, `left`, `right`, `rank` (nowhere, nowhere, 1 when new) and operator<.
template <typename Node>
class Heap {
public:
    Heap(Node *nodes, std::uint32_t &root) noexcept : nodes_(nodes), root_(&root) {}

    [[nodiscard]] bool          empty() const noexcept { return *root_ == nowhere; }
    [[nodiscard]] std::uint32_t head() const noexcept { return *root_; }

    void push(std::uint32_t place) noexcept
    {
        Node &node = nodes_[place];
        node.left = node.right = nowhere;
        node.rank              = 1;
        node.link.set(nowhere);
        *root_ = merge(*root_, place);
    }

    /// Precondition: not empty.
    std::uint32_t pop() noexcept
    {
        const std::uint32_t least = *root_;
        *root_                    = merge(nodes_[least].left, nodes_[least].right);
        if (*root_ != nowhere)
            nodes_[*root_].link.set(nowhere);
        return least;
    }

    /// Empties it, with release(place) for each.
    template <typename Release>
    void drop(Release release) noexcept
    {
        // The links are free to serve as a stack: nothing of the heap remains.
        std::uint32_t top = std::exchange(*root_, nowhere);
        while (top != nowhere) {
            const std::uint32_t place = top;
            top                       = nodes_[place].link.get();
            for (const std::uint32_t child : {nodes_[place].left, nodes_[place].right}) {
                if (child == nowhere)
                    continue;
                nodes_[child].link.set(top);
                top = child;
            }
            release(place);
        }
    }

    /// Calls visit(place) for each, parents first.
    template <typename Visit>
    void each(Visit visit) const
    {
        std::uint32_t place = *root_;
        while (place != nowhere) {
            visit(place);
            if (nodes_[place].left != nowhere)
                place = nodes_[place].left;
            else if (nodes_[place].right != nowhere)
                place = nodes_[place].right;
            else
                place = next_of(place);
        }
    }

private:
    std::uint32_t rank_of(std::uint32_t place) const noexcept
    {
        return place == nowhere ? 0 : nodes_[place].rank;
    }

    /// The first right child that was not visited yet, above a leaf.
    std::uint32_t next_of(std::uint32_t place) const noexcept
    {
        for (;;) {
            const std::uint32_t parent = nodes_[place].link.get();
            if (parent == nowhere)
                return nowhere;
            if (nodes_[parent].right != place && nodes_[parent].right != nowhere)
                return nodes_[parent].right;
            place = parent;
        }
    }

    std::uint32_t merge(std::uint32_t a, std::uint32_t b) noexcept
    {
        std::uint32_t root   = nowhere;
        std::uint32_t parent = nowhere;
        while (a != nowhere && b != nowhere) {
            if (nodes_[b] < nodes_[a])
                std::swap(a, b);
            hang(a, parent, root);
            parent = a;
            a      = nodes_[a].right;
        }
        const std::uint32_t rest = a == nowhere ? b : a;
        if (rest != nowhere)
            hang(rest, parent, root);

        for (std::uint32_t place = parent; place != nowhere; place = nodes_[place].link.get()) {
            Node &node = nodes_[place];
            if (rank_of(node.left) < rank_of(node.right))
                std::swap(node.left, node.right);
            node.rank = static_cast<decltype(node.rank)>(rank_of(node.right) + 1);
        }
        return root;
    }

    void hang(std::uint32_t place, std::uint32_t parent, std::uint32_t &root) noexcept
    {
        nodes_[place].link.set(parent);
        (parent == nowhere ? root : nodes_[parent].right) = place;
    }

    Node          *nodes_;
    std::uint32_t *root_;
};

} // namespace sluice::core
