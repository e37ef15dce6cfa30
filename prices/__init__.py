"""What is known of models, gathered from public tables: writes `gateway/vendors/models/`. No part of the product."""
