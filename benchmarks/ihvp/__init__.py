"""One inverse-Hessian-vector product of the last layer: this project and its peers, same numbers in, one table out."""
